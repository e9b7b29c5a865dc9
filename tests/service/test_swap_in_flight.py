"""A request stays on the version that it began with, whatever happens to the alias meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from rlt_service.engine.fake_engine import FakeOptions
from rlt_service.engine.protocol import Weights
from rlt_service.store.version_uses import VersionUses
from rlt_service.use_reports import PERIOD_S
from tests.engine.model_files import write_model
from tests.support.control import write_adapter
from tests.support.engines import GatedEngine, Workshop
from tests.support.service import make_app, serving

QUESTION = {"question": "What is 17 + 25?", "solution": "42", "seed": 1}
WRITERS = {"adapter": write_adapter, "full": write_model}


async def register(client: httpx.AsyncClient, home: Path, *, kind: str, seed: int) -> str:
    WRITERS[kind](home / "artifacts" / "imports" / f"algebra-{seed}", seed=seed)
    answer = await client.post("/v1/teachers/algebra/versions", json={"folder": f"algebra-{seed}"})
    assert answer.status_code == 201, answer.text
    return answer.json()["version"]


async def point(client: httpx.AsyncClient, to: str, *, expected: str) -> None:
    answer = await client.put("/v1/aliases/teacher/default", json={"version": to, "expected": expected})
    assert answer.status_code == 200, answer.text


async def ask(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/v1/explain", json=QUESTION)
    assert answer.status_code == 200, answer.text
    assert answer.headers["RLT-Teacher-Version"] == answer.json()["teacher"]["version"]
    return answer.json()


async def hold(client: httpx.AsyncClient, engine: GatedEngine) -> "asyncio.Task[dict[str, Any]]":
    """Begin a request and give it when it is in the engine, where it stays."""
    engine.may_generate.clear()
    asked = asyncio.create_task(ask(client))
    while not engine.waiting:
        await asyncio.sleep(0.01)
    return asked


def texts(answer: dict[str, Any]) -> list[str]:
    return [made["text"] for made in answer["explanations"]]


@pytest.mark.parametrize("kind", ["adapter", "full"])
async def test_promotion_and_rollback_leave_requests_in_flight_on_their_version(tmp_path: Path, kind: str) -> None:
    workshop = Workshop()
    async with serving(make_app(tmp_path, make_engine=workshop.make)) as client:
        base = workshop.made[0]
        before = await ask(client)
        version = await register(client, tmp_path, kind=kind, seed=1)

        held = await hold(client, base)
        await point(client, version, expected="fake@0")
        base.may_generate.set()
        assert texts(await held) == texts(before)
        assert (await held)["teacher"]["version"] == "fake@0"
        after = await ask(client)
        assert after["teacher"]["version"] == version
        assert texts(after) != texts(before)

        held = await hold(client, workshop.made[-1])
        back = await client.post("/v1/aliases/teacher/default/rollback", json={"expected": version})
        assert back.json()["version"] == "fake@0"
        workshop.made[-1].may_generate.set()
        assert (await held)["teacher"]["version"] == version
        assert texts(await held) == texts(after)
        assert (await ask(client))["teacher"]["version"] == "fake@0"


async def test_a_whole_model_is_not_unloaded_while_a_request_runs_on_it(tmp_path: Path) -> None:
    workshop = Workshop()
    async with serving(make_app(tmp_path, make_engine=workshop.make, max_full_engines=1)) as client:
        first = await register(client, tmp_path, kind="full", seed=1)
        await point(client, first, expected="fake@0")
        held = await hold(client, workshop.made[1])
        await client.post("/v1/aliases/teacher/default/rollback", json={"expected": first})
        registering = asyncio.create_task(register(client, tmp_path, kind="full", seed=2))
        await asyncio.sleep(0.2)
        assert not registering.done()
        assert (await ask(client))["teacher"]["version"] == "fake@0"
        workshop.made[1].may_generate.set()
        assert (await held)["teacher"]["version"] == first
        assert await registering == "algebra@2"
        assert workshop.most_running == 2  # the base and one more


async def test_a_version_on_which_another_process_runs_requests_is_not_deleted(tmp_path: Path) -> None:
    workshop = Workshop()
    async with (
        serving(make_app(tmp_path)) as one,
        serving(make_app(tmp_path, make_engine=workshop.make, roles=("teacher", "student"))) as other,
    ):
        version = await register(one, tmp_path, kind="adapter", seed=1)
        await point(one, version, expected="fake@0")
        await ask(other)
        held = await hold(other, workshop.made[0])
        await one.post("/v1/aliases/teacher/default/rollback", json={"expected": version})
        await asyncio.sleep(2 * PERIOD_S)
        refused = await one.delete("/v1/teachers/algebra/versions/1")
        assert (refused.status_code, refused.json()["code"]) == (409, "version_in_use"), refused.text
        assert refused.json()["used_by"] == ["requests of 1 other processes run on it"]
        workshop.made[0].may_generate.set()
        assert (await held)["teacher"]["version"] == version
        await asyncio.sleep(2 * PERIOD_S)
        assert (await one.delete("/v1/teachers/algebra/versions/1")).status_code == 200


async def test_a_process_that_was_killed_keeps_no_version_from_being_deleted(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    async with serving(app) as one:
        await register(one, tmp_path, kind="adapter", seed=1)
        VersionUses(app.state.services.database).report("killed", ["algebra@1"])
        assert (await one.delete("/v1/teachers/algebra/versions/1")).status_code == 200


async def test_a_version_deleted_before_another_process_said_so_still_answers_whom_it_runs_for(tmp_path: Path) -> None:
    workshop = Workshop()
    silent = make_app(tmp_path, make_engine=workshop.make, roles=("teacher", "student"))
    async with serving(make_app(tmp_path)) as one, serving(silent) as other:
        await asyncio.to_thread(silent.state.services.use_reports.stop)
        version = await register(one, tmp_path, kind="adapter", seed=1)
        await point(one, version, expected="fake@0")
        await ask(other)  # it has the adapter in memory from here on
        held = await hold(other, workshop.made[0])
        await one.post("/v1/aliases/teacher/default/rollback", json={"expected": version})
        deleted = await one.delete("/v1/teachers/algebra/versions/1")
        assert deleted.status_code == 200, deleted.text
        workshop.made[0].may_generate.set()
        assert (await held)["teacher"]["version"] == version
        gone = await other.post("/v1/explain", json=QUESTION | {"teacher": version})
        assert (gone.status_code, gone.json()["code"]) == (404, "model_not_found")


async def test_whole_models_that_need_each_others_places_wait_for_no_one_for_ever(tmp_path: Path) -> None:
    workshop = Workshop(FakeOptions(delay_s=0.1))  # long enough for two to hold a place each
    async with serving(make_app(tmp_path, make_engine=workshop.make, max_full_engines=2)) as client:
        for seed in range(1, 5):
            write_model(tmp_path / "artifacts" / "imports" / f"whole-{seed}", seed=seed)
            role = "students" if seed > 2 else "teachers"
            made = await client.post(f"/v1/{role}/whole-{seed}/versions", json={"folder": f"whole-{seed}"})
            assert made.status_code == 201, made.text
        moved = {"version": "whole-3@1", "expected": "fake@0"}
        assert (await client.put("/v1/aliases/student/default", json=moved)).status_code == 200
        explains = [QUESTION | {"teacher": f"whole-{seed}", "include": ["score"]} for seed in (1, 2)]
        scores = [
            {"question": "1 + 1?", "solution": "2", "explanations": ["Two."], "student": student, "teacher": teacher}
            for student, teacher in (("whole-3", "whole-1"), ("whole-4", "whole-2"))
        ]
        for path, bodies in (("/v1/explain", explains), ("/v1/score", scores)):
            async with asyncio.timeout(20.0):
                answers = await asyncio.gather(*[client.post(path, json=body) for body in bodies])
            assert [answer.status_code for answer in answers] == [200] * 2
        assert workshop.most_running <= 3  # the base and two more


async def test_two_processes_on_one_database_see_a_promotion_at_once(tmp_path: Path) -> None:
    async with (
        serving(make_app(tmp_path)) as one,
        serving(make_app(tmp_path, roles=("teacher", "student"))) as other,
    ):
        version = await register(one, tmp_path, kind="adapter", seed=1)
        assert [(await ask(client))["teacher"]["version"] for client in (one, other)] == ["fake@0", "fake@0"]
        await point(one, version, expected="fake@0")
        assert [(await ask(client))["teacher"]["version"] for client in (other, one)] == [version, version]
        await one.post("/v1/aliases/teacher/default/rollback", json={"expected": version})
        assert [(await ask(client))["teacher"]["version"] for client in (other, one)] == ["fake@0", "fake@0"]


async def test_a_whole_model_is_served_by_a_process_that_did_not_promote_it(tmp_path: Path) -> None:
    workshops = Workshop(), Workshop()
    async with (
        serving(make_app(tmp_path, make_engine=workshops[0].make)) as one,
        serving(make_app(tmp_path, make_engine=workshops[1].make, roles=("teacher", "student"))) as other,
    ):
        version = await register(one, tmp_path, kind="full", seed=1)
        await point(one, version, expected="fake@0")
        answers = [await ask(client) for client in (one, other)]
        assert [answer["teacher"]["version"] for answer in answers] == [version, version]
        assert texts(answers[0]) == texts(answers[1])
        assert [len(workshop.made) for workshop in workshops] == [2, 2]
        assert workshops[1].made[0].weights == Weights(base_model="fake")
