import subprocess
import sys
import time

import pytest

HEAVY = ("pandas", "numpy", "pyarrow", "PIL", "panel", "bokeh", "IPython", "pika", "sqlalchemy")


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_import_workbench_loads_no_heavy_library() -> None:
    assert modules_after("import workbench").isdisjoint(HEAVY)


def test_looking_up_an_operations_signature_loads_no_heavy_library() -> None:
    code = "from workbench.operations import registry; registry.load(); assert registry.specs()"
    assert modules_after(code).isdisjoint(HEAVY)


def test_import_workbench_takes_less_than_three_tenths_of_a_second() -> None:
    def seconds(statement: str) -> float:
        best = 9.0
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds("import workbench") - seconds("pass") < 0.3


def test_every_public_name_is_there() -> None:
    import workbench

    for name in workbench.__all__:
        assert getattr(workbench, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import workbench

    with pytest.raises(AttributeError, match="no attribute 'Cluster'"):
        _ = workbench.Cluster
