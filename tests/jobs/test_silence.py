from pathlib import Path

from rlt_service.jobs.silence import Silence


def test_silence_grows_until_one_of_the_files_does(tmp_path: Path) -> None:
    now_s = 100.0
    events, log = tmp_path / "events.jsonl", tmp_path / "trainer.log"
    silence = Silence((events, log), clock=lambda: now_s)
    seen: list[float] = []
    for pause_s, said in ((4.0, None), (1.0, events), (7.0, log), (2.0, None), (3.0, None)):
        now_s += pause_s
        if said is not None:
            with said.open("a") as file:
                file.write("a word\n")
        seen.append(silence.seconds())
    assert seen == [4.0, 0.0, 0.0, 2.0, 5.0]
