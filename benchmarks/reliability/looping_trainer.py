"""`looping_trainer.py TEMPLATE SHA256 --job FILE`: the stub, but each step asks a teacher and has a student judge it.

With the standard library alone, as the stub. An answer that does not come, or says to come back, is asked for again,
as the real trainer does; one of another version than the job's ends the attempt.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # -I leaves it out

import stub_trainer  # type: ignore[import-not-found] - beside this file

PATIENCE_S = 120.0
AGAIN_S = 0.2
COME_BACK = (429, 502, 503, 504)
WITHOUT_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Looping(stub_trainer.Stub):  # type: ignore[misc]
    """One attempt whose steps are calls."""

    def work(self, step: int, step_s: float) -> "dict[str, float]":
        """Explain and score one question; gives the reward as the step's metric."""
        time.sleep(step_s)
        asked = {"question": f"{step} + 1?", "solution": f"It is {step + 1}."}
        teacher = self.job.get("teacher_version") or "default"
        explained, by = self._ask("explain", {**asked, "teacher": teacher, "max_tokens": 32, "seed": step}, "Teacher")
        texts = [one["text"] for one in explained["explanations"]]
        student = self.job.get("student_version") or "default"
        scored, judge = self._ask("score", {**asked, "explanations": texts, "student": student}, "Student")
        for wanted, stamped in ((teacher, by), (student, judge)):
            if wanted not in ("default", stamped):
                raise SystemExit(f"asked {wanted}, answered {stamped}")
        return {"reward": float(scored["scores"][0]["reward"])}

    def _ask(self, call: str, body: "dict[str, object]", role: str) -> "tuple[dict, str]":
        """Give the answer and the version that it is stamped with."""
        headers = {"content-type": "application/json"}
        if "RLT_API_KEY" in os.environ:
            headers["authorization"] = f"Bearer {os.environ['RLT_API_KEY']}"
        request = urllib.request.Request(
            f"{self.job['base_url']}/v1/{call}", data=json.dumps(body).encode(), headers=headers
        )
        ends_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                with WITHOUT_PROXY.open(request, timeout=60.0) as answer:
                    return json.loads(answer.read()), str(answer.headers[f"RLT-{role}-Version"])
            except urllib.error.HTTPError as error:
                if error.code not in COME_BACK or time.monotonic() > ends_s:
                    raise
            except OSError:
                if time.monotonic() > ends_s:
                    raise
            time.sleep(AGAIN_S)


if __name__ == "__main__":
    sys.exit(stub_trainer.main(Looping))
