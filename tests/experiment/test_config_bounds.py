"""A config that is deeper, longer or larger than any is refused in one line.

Covers: themis.experiment.config.data
"""

from __future__ import annotations

from pathlib import Path

import pytest

from themis.core.errors import ConfigError
from themis.experiment.config.data import MOST_BYTES, read_data

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("deep.toml", f"a = {'[' * 3000}{']' * 3000}", "nested more than 100 levels"),
        ("deep.yaml", f"a: {'[' * 1000}{']' * 1000}", "nested more than 100 levels"),
        ("less.yaml", f"a: {'[' * 120}{']' * 120}", "nested more than 100 levels"),
        ("deep.toml", f"a{'.a' * 200} = 1", "nested more than 100 levels"),
        ("laughs.yaml", LAUGHS, "more than 1,000,000 values"),
        ("circle.yaml", "a: &a [*a]", "recursive"),
        ("number.toml", f"a = {'9' * 10_000}", "not TOML"),
        ("number.yaml", f"a: {'9' * 10_000}", "not YAML"),
        ("nul.yaml", "a: \0", "not YAML"),
    ],
)
def test_a_config_beyond_all_bounds_is_refused_in_one_line(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        read_data(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_config_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(ConfigError, match="put cases into a data file"):
        read_data(path)


def test_a_text_that_aliases_repeat_a_few_times_is_read(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\n")
    assert read_data(path) == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
