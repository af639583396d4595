"""Fixtures for the tests of the built-in images."""
import pytest
from image_job import ROOT, Job, find_trainer


@pytest.fixture(scope="session")
def trainer():
    program = find_trainer()
    if program is None or not program.exists():
        pytest.skip("quern-xgboost is not built (set QUERN_XGBOOST)")
    return program


@pytest.fixture(scope="session")
def abalone():
    """Abalone rows as numbers, the label (rings) first: sex becomes three columns."""
    for path in (ROOT / "examples/article/data/abalone-dataset.csv", ROOT / "../shared/data/abalone-dataset.csv"):
        if path.exists():
            break
    else:
        pytest.skip("abalone-dataset.csv is not there")
    rows = []
    for line in path.read_text().split():
        sex, *rest = line.split(",")
        if sex == "sex":
            continue
        rows.append([float(rest[-1]), *map(float, rest[:-1]), *(float(sex == s) for s in "MFI")])
    return rows


@pytest.fixture
def job(tmp_path, trainer):
    return Job(tmp_path / "ml", [trainer])
