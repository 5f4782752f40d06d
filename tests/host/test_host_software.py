"""BLAS libraries, NumPy, Python; the host's identity."""

import os
import re
import socket
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from support.programs import printed

from autotune.host import identity, numeric_libraries, threadpools


def info(**fields):
    return {"user_api": "blas", "internal_api": "openblas", "version": "0.3.30", "num_threads": 4, **fields}


def pools(monkeypatch, *answers):
    libraries = [SimpleNamespace(info=partial(dict, answer)) for answer in answers]
    monkeypatch.setattr(threadpools, "blas_controllers", lambda: libraries)


def test_without_a_blas_the_software_still_has_numpy_and_python(monkeypatch):
    pools(monkeypatch)
    assert numeric_libraries.libraries() == ()
    key = numeric_libraries.software()
    assert (key.blas, key.blas_version, key.kernels, key.threading, key.ilp64) == (None,) * 5
    assert key.numpy == ".".join(np.__version__.split(".")[:2])
    assert key.python in {"gil", "free-threaded"}


def test_numpys_library_comes_first_and_is_the_key(monkeypatch):
    pools(
        monkeypatch,
        info(filepath="/x/scipy.libs/libscipy_openblas-1.so", version="0.3.29"),
        info(filepath="/x/numpy.libs/libscipy_openblas64_-2.so", architecture="Haswell"),
    )
    assert [library.user for library in numeric_libraries.libraries()] == ["numpy", "scipy"]
    assert (numeric_libraries.software().blas_version, numeric_libraries.software().kernels) == ("0.3.30", "Haswell")


def test_a_library_of_the_system_serves_numpy_when_scipy_has_its_own(monkeypatch):
    pools(
        monkeypatch,
        info(filepath="/x/site-packages/scipy.libs/libscipy_openblas.so"),
        info(filepath="/usr/lib/libmkl_rt.so.2", internal_api="mkl", version="2024.1", threading_layer="intel"),
    )
    key = numeric_libraries.software()
    assert (key.blas, key.threading, key.ilp64) == ("mkl", "intel", None)


FLEXIBLAS = {"internal_api": "flexiblas", "version": "3.4.2", "filepath": "/usr/lib64/libflexiblas.so.3.4"}


def test_the_library_behind_flexiblas_is_the_key(monkeypatch):
    pools(
        monkeypatch,
        info(**FLEXIBLAS, current_backend="OPENBLAS-OPENMP", loaded_backends=["OPENBLAS-OPENMP"]),
        info(filepath="/usr/lib64/libopenblaso-r0.3.29.so", architecture="Zen", threading_layer="openmp"),
        info(filepath="/v/scipy.libs/libscipy_openblas.so", version="0.3.27"),
    )
    assert [library.api for library in numeric_libraries.libraries()] == ["flexiblas", "openblas", "openblas"]
    key = numeric_libraries.software()
    assert (key.blas, key.blas_version, key.kernels, key.threading) == ("openblas", "0.3.30", "Zen", "openmp")


def test_flexiblas_over_a_library_that_cannot_be_seen_names_what_it_calls(monkeypatch):
    pools(monkeypatch, info(**FLEXIBLAS, current_backend="NETLIB"), info(filepath="/v/scipy.libs/libscipy_openblas.so"))
    key = numeric_libraries.software()
    assert (key.blas, key.blas_version, key.kernels) == ("flexiblas", "3.4.2", "NETLIB")


@pytest.mark.parametrize(
    ("api", "path"),
    [
        ("openblas", "/usr/lib/x86_64-linux-gnu/openblas-pthread/libopenblasp-r0.3.21.so"),
        ("openblas", "/usr/lib64/libopenblas64_p.so.0"),
        ("openblas", "/opt/conda/lib/libcblas.so.3"),
        ("openblas", r"C:\conda\Library\bin\openblas.dll"),
        ("blis", "/opt/aocl/lib/libblis-mt.so.4"),
        ("mkl", "/opt/intel/oneapi/mkl/latest/lib/libmkl_rt.so.2"),
        ("mkl", r"C:\conda\Library\bin\mkl_rt.2.dll"),
        ("flexiblas", "/usr/lib64/libflexiblas.so.3"),
    ],
)
def test_a_library_that_says_nothing_but_its_kind_is_described(api, path, monkeypatch):
    """Whatever else a build or a version of threadpoolctl leaves out is unknown."""
    pools(monkeypatch, {"user_api": "blas", "internal_api": api, "filepath": path})
    (blas,) = numeric_libraries.libraries()
    assert (blas.api, blas.path, blas.user) == (api, path, None)
    assert (blas.version, blas.kernels, blas.threading, blas.ilp64, blas.threads) == (None,) * 5
    assert numeric_libraries.software().blas == api


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("/v/numpy.libs/libscipy_openblas64_.so", "numpy"),
        ("/v/numpy/.dylibs/libscipy_openblas64_.dylib", "numpy"),
        (r"C:\v\scipy.libs\libscipy_openblas.dll", "scipy"),
        ("/opt/numpy-tools/lib/libopenblas.so", None),
    ],
)
def test_the_folder_of_a_wheel_names_its_package(path, user):
    assert numeric_libraries.brought_by(path) == user


def test_files_that_are_no_openblas_for_all_their_name_are_passed_over(tmp_path, monkeypatch):
    (tmp_path / "libopenblas.so").write_text("not a library")
    other = tmp_path / "libopenblas_tools.so"
    other.symlink_to(next(path for path in threadpools.mapped_libraries() if "/libc" in path))
    paths = [str(tmp_path / "libopenblas.so"), str(tmp_path / "libopenblas_gone.so"), str(other)]
    monkeypatch.setattr(threadpools, "mapped_libraries", lambda *_: paths)
    assert threadpools.blas_controllers() == []


def test_openblas_is_described_as_threadpoolctl_describes_it():
    described = {library.filepath: library.info() for library in threadpools.blas_controllers()}
    pools = [pool for pool in threadpools.controller().info() if pool["user_api"] == "blas"]
    assert described.keys() == {pool["filepath"] for pool in pools}
    for pool in pools:
        del pool["prefix"]
        assert pool == {name: described[pool["filepath"]][name] for name in pool}


def test_other_libraries_are_asked_of_threadpoolctl(monkeypatch):
    path = "/opt/mkl/libmkl_rt.so.2"
    mkl = SimpleNamespace(filepath=path, user_api="blas", internal_api="mkl")
    openmp = SimpleNamespace(filepath="/lib/libiomp5.so", user_api="openmp", internal_api="openmp")
    monkeypatch.setattr(threadpools, "controller", lambda: SimpleNamespace(lib_controllers=[openmp, mkl]))
    for mapped in (["/lib/libc.so.6", path], None):
        monkeypatch.setattr(threadpools, "mapped_libraries", lambda *_, mapped=mapped: mapped)
        assert threadpools.blas_controllers() == [mkl]


def test_numpys_loaded_library_agrees_with_numpys_own_words():
    config = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    for library in numeric_libraries.libraries():
        if library.user == "numpy" and "openblas configuration" in config:
            assert library.ilp64 == ("USE64BITINT" in config["openblas configuration"])
            assert library.kernels


@pytest.mark.real
def test_looking_for_libraries_leaves_the_environment_as_it_was():
    code = (
        "import os; before = dict(os.environ); from autotune.host.numeric_libraries import software;"
        "found = software(load=True); print(dict(os.environ) == before, found.numpy is not None)"
    )
    environ = {name: value for name, value in os.environ.items() if name != threadpools._SIDE_EFFECT}
    assert printed(code, environ=environ).split() == ["True", "True"]


@pytest.mark.real
def test_numpy_is_not_imported_unless_asked_for():
    code = (
        "import sys; from autotune.host.numeric_libraries import software; found = software();"
        "print('numpy' in sys.modules, found.blas, found.numpy)"
    )
    assert printed(code).split() == ["False", "None", "None"]


@pytest.mark.skipif(threadpools.mapped_libraries() is None, reason="nothing lists the mapped files here")
def test_what_the_kernel_lists_are_the_libraries_that_threadpoolctl_finds():
    """With its older versions, which ask the linker, that is what keeps an import in another thread from a deadlock."""
    controller = threadpools.controller()
    paths = {blas.filepath for blas in controller.lib_controllers}
    controller.lib_controllers.clear()
    controller._find_libraries_with_dl_iterate_phdr()
    assert {blas.filepath for blas in controller.lib_controllers} == paths
    assert paths == {blas.filepath for blas in threadpools.threadpoolctl().ThreadpoolController().lib_controllers}


def files(monkeypatch, **texts):
    monkeypatch.delenv("AUTOTUNE_HOST_ID", raising=False)
    monkeypatch.setattr(identity, "read", lambda path: texts.get(path.rpartition("/")[2].replace("-", "_")))


def test_the_users_name_for_the_host_is_taken(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_HOST_ID", " node-7.rack ")
    assert identity.host_id() == "node-7.rack"


@pytest.mark.parametrize("name", ["../../etc", "a b", "x" * 65, "ä", "-rf"])
def test_a_name_that_could_do_harm_in_a_path_is_hashed(monkeypatch, name):
    monkeypatch.setenv("AUTOTUNE_HOST_ID", name)
    assert re.fullmatch("[0-9a-f]{16}", identity.host_id())


def test_the_host_is_a_hash_that_tells_neither_name_nor_machine_id(monkeypatch):
    files(monkeypatch, machine_id="0123456789abcdef0123456789abcdef")
    host = identity.host_id()
    assert re.fullmatch("[0-9a-f]{16}", host)
    assert socket.gethostname() not in host
    assert host == identity.host_id()


def test_clones_of_one_image_are_different_hosts(monkeypatch):
    files(monkeypatch, machine_id="0123456789abcdef0123456789abcdef")
    monkeypatch.setattr(socket, "gethostname", lambda: "a")
    first = identity.host_id()
    monkeypatch.setattr(socket, "gethostname", lambda: "b")
    assert identity.host_id() != first


@pytest.mark.parametrize("machine", [None, "", "uninitialized"])
def test_containers_without_a_machine_id_agree_by_the_boot_of_their_computer(monkeypatch, machine):
    files(monkeypatch, machine_id=machine, boot_id="1b4e28ba-2fa1-11d2-883f-0016d3cca427")
    monkeypatch.setattr(socket, "gethostname", lambda: "container-1")
    first = identity.host_id()
    monkeypatch.setattr(socket, "gethostname", lambda: "container-2")
    assert identity.host_id() == first


def test_a_system_without_either_goes_by_its_hashed_name(monkeypatch):
    files(monkeypatch)
    monkeypatch.setattr(socket, "gethostname", lambda: "mac")
    assert identity.host_id() != "mac"


def test_governor_and_kernel_of_a_recording_are_its_own(tree):
    root = tree(
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor: powersave\nproc/sys/kernel/osrelease: 5.14.0-1.el9"
    )
    assert (identity.governor(root), identity.kernel(root)) == ("powersave", "5.14.0-1.el9")
    assert (identity.governor(root / "sys"), identity.kernel(root / "sys")) == (None, None)
    assert identity.kernel()
