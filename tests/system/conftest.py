"""Fixtures: a private instance of the suite for a test module."""
import os
import shutil
import subprocess
import tempfile

import pytest

import suite


def make_lab(request, **settings):
    directory = tempfile.mkdtemp(prefix="waypost-lab.")
    lab = suite.Lab(directory, **settings)

    def finish():
        lab.stop()
        if os.environ.get("KEEP_LABS"):
            print("kept", directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)

    request.addfinalizer(finish)
    lab.start()
    return lab


@pytest.fixture(scope="module")
def lab(request):
    """One instance for the module; LAB_CONF lines from the module's MAIN_CF."""
    return make_lab(request, main_cf=getattr(request.module, "MAIN_CF", ""),
                    master_cf=getattr(request.module, "MASTER_CF", ""))


@pytest.fixture
def new_lab(request):
    """A function that makes further instances: new_lab(main_cf="...", domain="other.test")."""
    return lambda **settings: make_lab(request, **settings)


@pytest.fixture
def peer_tool():
    """Path of a client program, or a skip: peer_tool("swaks")."""
    def find(name):
        path = shutil.which(name)
        if not path:
            pytest.skip(f"{name} is not installed")
        return path
    return find


@pytest.fixture
def run_tool():
    """Run a client with a time limit; returns (exit code, output)."""
    def run(*command, **options):
        options.setdefault("timeout", 60)
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", check=False, **options)
        return done.returncode, done.stdout
    return run
