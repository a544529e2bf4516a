from __future__ import annotations

import pytest

from benchmarks.cluster import Moment, Start, main, said, simulate, startups


def test_a_study_takes_what_its_longest_node_takes() -> None:
    assert simulate(14, 1, 100.0, 5.0, 1.0, 1e9) == pytest.approx(105 + 13 * 101)
    assert simulate(14, 14, 100.0, 5.0, 1.0, 1e9) == pytest.approx(105)
    assert simulate(14, 100, 100.0, 5.0, 1.0, 1e9) == pytest.approx(105)
    assert simulate(14, 4, 100.0, 5.0, 1.0, 1e9) == pytest.approx(105 + 3 * 101)  # four rounds, the last of two cells


def test_the_driver_is_the_limit_where_there_are_many_nodes() -> None:
    assert simulate(5000, 5000, 10.0, 0.0, 0.0, 10.0) == pytest.approx(500 + 10)


def test_a_start_is_cold_in_a_process_that_has_run_nothing() -> None:
    def start(process: int, step: tuple[float, float], end: tuple[float, float]) -> Start:
        return Start(process, Moment(*step), Moment(*end))

    starts = [start(1, (107, 6), (108, 7)), start(2, (109, 4), (111, 5)), start(1, (108.5, 7.25), (110, 8))]
    assert startups(100, starts) == (Moment(8, 5), Moment(0.5, 0.25))
    with pytest.raises(SystemExit, match="give more --cells"):
        startups(100, starts[:2])


def test_the_table_is_counted_from_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--measured", "5", "1", "20", "--seconds", "600"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| cells | 1 node | 2 nodes | 4 nodes |")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 14", "| 500", "| 5000"]
    assert [said(seconds) for seconds in (59, 150, 3000, 9000, 1e6)] == ["59 s", "2.5 min", "50 min", "2.5 h", "12 d"]
