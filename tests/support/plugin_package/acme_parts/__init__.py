"""Parts of an evaluation, as a third party would ship them."""
