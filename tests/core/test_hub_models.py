import pytest

from rlt_core.hub_models import HubModel, parse_hub_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_reference_names_repository_and_commit() -> None:
    model = parse_hub_model(f"hub:Org/Tiny_Model-1.5@{COMMIT}")
    assert model == HubModel(repository="Org/Tiny_Model-1.5", commit=COMMIT)
    assert model.name == "Tiny_Model-1.5"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("hub:org/tiny", "names no revision, and what a hub serves under a name changes: write hub:OWNER/NAME@COMMIT"),
        ("hub:org/tiny@", "names no revision"),
        ("hub:org/tiny@main", "branches and tags move"),
        (f"hub:org/tiny@{COMMIT[:7]}", "no commit of 40"),
        (f"hub:org/tiny@{COMMIT.upper()}", "no commit of 40"),
        (f"hub:tiny@{COMMIT}", "names no repository"),
        (f"hub:../tiny@{COMMIT}", "names no repository"),
        (f"hub:org/a/b@{COMMIT}", "names no repository"),
        (f"hub:org/a--b@{COMMIT}", "names no repository"),
        (f"hub:@{COMMIT}", "names no repository"),
    ],
)
def test_what_is_not_pinned_is_refused_with_what_to_write(reference: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_hub_model(reference)
