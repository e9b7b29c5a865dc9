"""Own versions, aliases, rollout adapters and evaluations: what can be called, where it lies, where it comes from."""

import re
from collections.abc import Sequence
from typing import TypeVar, cast

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from rlt_core.errors import ConfigurationError, InvalidRequestError, NotFoundError
from rlt_core.schemas.base import VERSION_PATTERN, Page, Role, now_utc
from rlt_core.schemas.jobs import JOB_SPEC, JobKind
from rlt_core.schemas.rollouts import RolloutPublished, RolloutPublishRequest
from rlt_core.schemas.teachers import (
    Alias,
    AliasHistory,
    Evaluation,
    EvaluationRow,
    JobAttempt,
    Lineage,
    ModelCard,
    ModelVersion,
    NamedModel,
)
from rlt_service.bases import role_of
from rlt_service.store import aliases, evaluations, history, resolution, rollouts
from rlt_service.store.artifacts import REFUSED, ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.idempotency import JSON_TYPE, keep
from rlt_service.store.job_rows import fenced_job
from rlt_service.store.known_hashes import KnownHashes
from rlt_service.store.registration import Candidate, HeldOut, register, stage
from rlt_service.store.resolution import ResolvedVersion, VersionFiles, version_name
from rlt_service.store.retries import tried_again
from rlt_service.store.shared_files import fetch_version
from rlt_service.store.tables import AliasChangeRow, AliasRow, JobRow, RolloutRow, VersionRow
from rlt_service.store.turns import take_turn
from rlt_service.store.version_owners import known_version, name_use

ItemT = TypeVar("ItemT")
__all__ = ["Candidate", "HeldOut", "Registry", "ResolvedVersion", "VersionFiles"]


class Registry:
    """Everything that can be called by name; each method is one transaction."""

    def __init__(self, database: Database, artifacts: ArtifactStore) -> None:
        """Take a started database and the artifact folders."""
        self._database = database
        self._artifacts = artifacts
        self._hashes = KnownHashes()

    @tried_again
    def ensure_base(
        self, *, name: str, base_model: str, format: str, plays: Sequence[Role] = ("teacher", "student")
    ) -> ModelVersion:
        """Make `name@0` the current base of roles; point their aliases `default` at it where they are absent.

        Raises ConfigurationError where the name is that of another base, or of this one in another format.
        """
        with self._database.transaction() as session:
            take_turn(session, "bases")
            row = session.scalar(select(VersionRow).where(VersionRow.name == name, VersionRow.number == 0))
            if row is None:
                row = VersionRow(
                    name=name, number=0, role=plays[0], created_at=now_utc(), base_model=base_model, format=format
                )
                session.add(row)
            elif row.base_model != base_model:
                raise ConfigurationError(
                    f"{name}@0 is the base {row.base_model!r}, not {base_model!r}: versions never change. "
                    "Set RLT_BASE_NAME to a new name for this base."
                )
            elif row.format != format:
                raise ConfigurationError(
                    f"{name}@0 is of the format {row.format!r}, not {format!r}: versions never change. "
                    "Set RLT_BASE_NAME to a new name for this base in that format."
                )
            if "student" in plays:  # students have one base: this one
                own = VersionRow.number == 0, VersionRow.role == "student"
                session.execute(update(VersionRow).where(*own).values(ensured_at=None))
            row.role, row.ensured_at = plays[0], now_utc()
            session.flush()
            for role in plays:
                if session.get(AliasRow, (role, "default")) is None:
                    first = {"version": f"{name}@0", "reason": "fresh install", "by": "install"}
                    aliases.move(session, role=role, alias="default", expected=None, **first)
            return _version(session, row)

    def base(self, role: Role = "teacher") -> ResolvedVersion:
        """Return the base of a role that a server last started with; raises NotFoundError before the first start."""
        with self._database.reading() as session:
            row = resolution.current_base(session, role)
            if row is None:
                raise NotFoundError("No base model is registered yet: start the service once.")
            return ResolvedVersion(
                version=version_name(row), role=role, base_model=row.base_model, format=row.format, adapter=None
            )

    def resolve(self, role: Role, name: str) -> ResolvedVersion:
        """Find what `name` means for `role`: alias, name (newest), `name@number`, rollout adapter."""
        with self._database.reading() as session:
            return resolution.resolve(session, self._artifacts, role=role, name=name)

    def check_files(self, resolved: ResolvedVersion) -> None:
        """Raise InvalidAdapterError or InvalidWeightsError where a version's files are not the registered ones."""
        files, kind = resolved.files, resolved.kind
        if files is None:
            return
        self.fetch(resolved)
        found = self._artifacts.checked_sha256(files.path, kind, known=self._hashes)
        if found != files.sha256:
            raise REFUSED[kind](
                f"{resolved.version} has sha256 {found}, it was registered with {files.sha256}: its files were changed "
                "afterwards. Register what it should be as a new version."
            )

    def fetch(self, resolved: ResolvedVersion) -> None:
        """See that a version's files lie on this machine; raises StorageUnavailableError, InconsistentStateError."""
        files, version = resolved.files, resolved.version
        if files is not None:
            fetch_version(self._artifacts, files.path, resolved.kind, version=version, sha256=files.sha256)

    def register(self, candidate: Candidate, *, held_out: HeldOut | None = None) -> ModelVersion:
        """Make an adapter or a fully trained model the next version of its name, with its evaluation, all or none.

        Fenced by the candidate's attempt; a second registration for the same job returns the first one's version.
        Raises StaleAttemptError, InvalidAdapterError, InvalidWeightsError.
        """
        staged = stage(self._artifacts, candidate)
        try:
            with self._database.transaction() as session:
                made = _version(session, register(session, self._artifacts, candidate, staged, held_out))
                keep(session, made, status=201, headers={"content-type": JSON_TYPE})
                return made
        finally:
            self._artifacts.discard(staged)

    def version_of_job(self, job_id: str) -> ModelVersion | None:
        """Return what a job has registered, if it has."""
        with self._database.reading() as session:
            row = session.scalar(select(VersionRow).where(VersionRow.job_id == job_id))
            return _version(session, row) if row is not None else None

    def get_version(self, version: str, *, role: Role = "teacher") -> ModelVersion:
        """Return `name@number`; raises ModelNotFoundError, in the words of the role that was asked for."""
        with self._database.reading() as session:
            return _version(session, resolution.live_version(session, version, role=role, param="/version"))

    def list_names(self, role: Role, *, limit: int = 100, after: str | None = None) -> Page[NamedModel]:
        """Return names with versions made for a role, the one with the newest version first."""
        newest = func.max(VersionRow.ordinal)
        query = (
            select(VersionRow.name, func.max(VersionRow.number), func.count(), func.min(VersionRow.created_at), newest)
            .where(VersionRow.role == role, VersionRow.deleted_at.is_(None), known_version())
            .group_by(VersionRow.name)
            .order_by(newest.desc())
        )
        with self._database.reading() as session:
            named = [
                NamedModel(name=name, object=role, latest=f"{name}@{number}", versions=count, created_at=created)
                for name, number, count, created, _ in session.execute(query)
            ]
        return _page(named, [item.name for item in named], limit=limit, after=after)

    def versions(
        self, name: str, *, role: Role = "teacher", limit: int = 100, after: str | None = None
    ) -> Page[ModelVersion]:
        """Return a name's versions, newest first; `after` is `name@number`. Raises ModelNotFoundError."""
        with self._database.reading() as session:
            query = select(VersionRow).where(VersionRow.name == name, VersionRow.deleted_at.is_(None), known_version())
            query = query.order_by(VersionRow.number.desc())
            found = [_version(session, row) for row in session.scalars(query)]
            if not found:
                raise resolution.missing_version(session, name, role=role, param="/name")
        return _page(found, [item.version for item in found], limit=limit, after=after)

    def name_use(self, name: str) -> tuple[bool, bool]:
        """Tell whether versions have a name, whoever made them, and whether another than the caller made any."""
        with self._database.reading() as session:
            return name_use(session, name)

    def lineage(self, version: str, *, role: Role = "teacher") -> Lineage:
        """Return where a version comes from and what became of it, deleted or not; raises ModelNotFoundError."""
        with self._database.reading() as session:
            row = _row(session, version, role=role)
            name = version_name(row)
            job = session.scalar(select(JobRow).where(JobRow.id == row.job_id)) if row.job_id else None
            moves = select(AliasChangeRow).where(AliasChangeRow.version == name).order_by(AliasChangeRow.ordinal)
            return Lineage(
                version=name,
                base_model=row.base_model,
                parent=row.parent,
                job=row.job_id,
                spec=JOB_SPEC.validate_python(job.spec) if job is not None else None,
                code_version=row.code_version,
                dataset=row.dataset_id,
                dataset_sha256=row.dataset_sha256,
                taught_by=(job.result or {}).get("taught_by", []) if job is not None else [],
                deleted_at=row.deleted_at,
                evaluations=evaluations.naming(session, name),
                promotions=[aliases.change(move) for move in session.scalars(moves)],
            )

    def publish_rollout(self, job_id: str, request: RolloutPublishRequest) -> RolloutPublished:
        """Make the policy of one step callable; fenced by the attempt. Collects the job's older ones.

        A repeated publication is answered as the first was; raises ConflictError where it says something else.
        """
        published = RolloutPublished(version=f"{job_id}.{request.attempt}@{request.step}")
        with self._database.reading() as session:
            # Before the files: a stale attempt hears that it is stale.
            kind = rollouts.policy_kind(fenced_job(session, job_id, request.attempt, lock=False))
            if rollouts.was_published(session, job_id, request):
                return published
        found = self._artifacts.checked_sha256(self._artifacts.rollout_dir(job_id, request.attempt, request.step), kind)
        if found != request.sha256:
            raise REFUSED[kind](
                f"The policy of step {request.step} has sha256 {found}, announced was {request.sha256}.",
                param="/sha256",
            )
        with self._database.transaction() as session:
            job = fenced_job(session, job_id, request.attempt)
            if rollouts.was_published(session, job_id, request):
                return published
            base = resolution.current_base(session, role_of(cast(JobKind, job.kind)))
            if base is None:
                raise NotFoundError("No base model is registered yet: start the service once.")
            session.add(
                RolloutRow(
                    job_id=job_id,
                    attempt=request.attempt,
                    step=request.step,
                    sha256=request.sha256,
                    base_model=base.base_model,
                    format=base.format,
                    created_at=now_utc(),
                )
            )
            history.append(session, job, "published", {"step": request.step, "version": published.version})
            session.flush()
            old = rollouts.collect(session, job_id, keep=rollouts.KEPT[kind])
        self._discard_rollouts(job_id, old)
        return published

    def collect_rollouts(self, job_id: str) -> None:
        """Forget every rollout adapter of a job that has moved on."""
        with self._database.transaction() as session:
            old = rollouts.collect(session, job_id, keep=0)
        self._discard_rollouts(job_id, old)

    @tried_again
    def save_evaluation(self, evaluation: Evaluation, rows: Sequence[EvaluationRow]) -> None:
        """Store a comparison with its rows."""
        with self._database.transaction() as session:
            evaluations.save(session, evaluation, rows)
            location = {"content-type": JSON_TYPE, "location": f"/v1/evaluations/{evaluation.id}"}
            keep(session, evaluation, status=201, headers=location)

    def get_evaluation(self, evaluation_id: str) -> Evaluation:
        """Return an evaluation; raises NotFoundError."""
        with self._database.reading() as session:
            return evaluations.get(session, evaluation_id)

    def latest_evaluation(self, *, before: str, after: str, student: str | None = None) -> Evaluation | None:
        """Return the newest comparison of exactly these two versions, by one student or by any."""
        with self._database.reading() as session:
            return evaluations.latest(session, before=before, after=after, student=student)

    def evaluation_of_job(self, job_id: str) -> Evaluation | None:
        """Return the comparison that a job made."""
        with self._database.reading() as session:
            return evaluations.of_job(session, job_id)

    def evaluation_rows(self, evaluation_id: str, *, offset: int = 0, limit: int = 100) -> Page[EvaluationRow]:
        """Return a window of an evaluation's rows; raises NotFoundError."""
        with self._database.reading() as session:
            return evaluations.rows(session, evaluation_id, offset=offset, limit=limit)

    def all_evaluation_rows(self, evaluation_id: str) -> list[EvaluationRow]:
        """Return every row of an evaluation; raises NotFoundError."""
        with self._database.reading() as session:
            return evaluations.all_rows(session, evaluation_id)

    def aliases(self) -> list[Alias]:
        """Return every alias."""
        with self._database.reading() as session:
            return aliases.every(session)

    def get_alias(self, role: Role, alias: str) -> Alias:
        """Return one alias; raises NotFoundError."""
        with self._database.reading() as session:
            return aliases.get(session, role=role, alias=alias)

    @tried_again
    def move_alias(
        self,
        role: Role,
        alias: str,
        version: str,
        *,
        expected: str | None,
        reason: str,
        by: str = "api",
        evaluation: str | None = None,
        attempt_of: JobAttempt | None = None,
    ) -> Alias:
        """Compare-and-swap an alias to `name@number`; raises AliasMovedError, ModelNotFoundError.

        For an attempt the job must be its own still; raises StaleAttemptError, NotFoundError.
        """
        if not re.fullmatch(VERSION_PATTERN, version):
            raise InvalidRequestError(
                f"An alias points at a version, name@number, not at {version!r}.", param="/version"
            )
        with self._database.transaction() as session:
            if attempt_of is not None:
                fenced_job(session, attempt_of.job, attempt_of.attempt)
            row = resolution.live_version(session, version, role=role, param="/version", lock=True)
            moved = aliases.move(
                session,
                role=role,
                alias=alias,
                version=version_name(row),
                expected=expected,
                reason=reason,
                by=by,
                evaluation=evaluation,
            )
            keep(session, moved, status=200, headers={"content-type": JSON_TYPE})
            return moved

    def alias_history(self, role: Role, alias: str, *, limit: int = 100, after: str | None = None) -> AliasHistory:
        """Return moves of an alias, newest first; raises NotFoundError."""
        with self._database.reading() as session:
            return aliases.history(session, role=role, alias=alias, limit=limit, after=after)

    def callable_models(self) -> list[ModelCard]:
        """Return every name that can be called: aliases, names, versions; rollout adapters stay unlisted."""
        with self._database.reading() as session:
            cards = {item.alias: _card(item.alias, item.updated_at.timestamp()) for item in aliases.every(session)}
            there = select(VersionRow).where(VersionRow.deleted_at.is_(None), known_version())
            for row in session.scalars(there.order_by(VersionRow.ordinal.desc())):
                for name in (row.name, version_name(row)):
                    cards.setdefault(name, _card(name, row.created_at.timestamp()))
        return list(cards.values())

    def _discard_rollouts(self, job_id: str, old: Sequence[RolloutRow]) -> None:
        for row in old:
            self._artifacts.discard(self._artifacts.rollout_dir(job_id, row.attempt, row.step))


def _row(session: Session, version: str, *, role: Role) -> VersionRow:
    row = resolution.find_version(session, version) if re.fullmatch(VERSION_PATTERN, version) else None
    if row is None:
        raise resolution.missing_version(session, version, role=role, param="/version")
    return row


def _version(session: Session, row: VersionRow) -> ModelVersion:
    name = version_name(row)
    pointing = session.scalars(select(AliasRow).where(AliasRow.version == name))
    return ModelVersion(
        version=name,
        name=row.name,
        number=row.number,
        role=cast(Role, row.role),
        created_at=row.created_at,
        base_model=row.base_model,
        format=row.format,
        weights="adapter" if row.adapter_sha256 else "full" if row.weights_sha256 else "base",
        adapter_sha256=row.adapter_sha256,
        weights_sha256=row.weights_sha256,
        lora_rank=row.lora_rank,
        parent=row.parent,
        job=row.job_id,
        dataset=row.dataset_id,
        aliases=sorted({alias.alias for alias in pointing}),
    )


def _card(name: str, created_s: float) -> ModelCard:
    return ModelCard(id=name, created=int(created_s), owned_by="rlt")


def _page(items: list[ItemT], ids: list[str], *, limit: int, after: str | None) -> Page[ItemT]:
    """Cut a page out of a list that is short by nature (names, versions of one name)."""
    start = 0
    if after is not None:
        if after not in ids:
            raise InvalidRequestError(f"`after` is no id of this list: {after!r}.", param="/after")
        start = ids.index(after) + 1
    end = start + limit
    data = items[start:end]
    return Page[ItemT](data=data, has_more=end < len(items), last_id=ids[start + len(data) - 1] if data else None)
