"""How a text is cut."""

from __future__ import annotations

import pytest

from pocketllama.cost.windows import cut
from pocketllama.errors import UsageError

TEXT = list(range(100, 130))


def test_halves() -> None:
    windows = cut(TEXT, 8, None, bos=1)
    assert len(windows) == 3
    assert windows[1].tokens == [1, *range(109, 116)]
    assert windows[1].first == 4 and windows[1].scored == [113, 114, 115]
    assert cut(TEXT, 8, None, bos=None)[1].tokens == list(range(108, 116))


@pytest.mark.parametrize("bos", [1, None])
@pytest.mark.parametrize(("n_ctx", "stride"), [(8, 1), (8, 3), (8, 7), (16, 8), (64, 10)])
def test_a_stride_scores_each_token_once(n_ctx: int, stride: int, bos: int | None) -> None:
    windows = cut(TEXT, n_ctx, stride, bos)
    scored = [token for window in windows for token in window.scored]
    assert scored == (TEXT if bos is not None else TEXT[1:])
    for window in windows:
        assert len(window.tokens) <= n_ctx and (bos is None or window.tokens[0] == bos)
        assert window.first >= 0 and len(window.scored) >= 1
    for window in windows[1:-1]:
        assert len(window.scored) == stride or n_ctx - 1 == stride
        assert window.first + 1 >= n_ctx - stride


def test_what_cannot_be_cut() -> None:
    for arguments in ((TEXT, 64, None, 1), (TEXT, 8, 8, 1), (TEXT, 8, 0, 1), (TEXT, 2, None, 1), ([], 8, 4, 1)):
        with pytest.raises(UsageError):
            cut(*arguments)
