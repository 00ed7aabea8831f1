"""The processor's description: always the same on one machine, different where instructions differ."""

import platform
import socket

import pytest

from wct_jax.system import processor as module
from wct_jax.system.processor import cores, processor

X86 = "processor\t: 0\nmodel name\t: EPYC\ncpu MHz\t\t: 2596.124\nflags\t\t: fpu sse avx2{}\nbogomips\t: 5192.24\n\n"
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd{}\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n\n"


@pytest.mark.parametrize("cpuinfo", [X86, ARM], ids=["x86", "ARM"])
def test_instructions_count_and_clocks_do_not(tmp_path, monkeypatch, cpuinfo):
    def described(text):
        (tmp_path / "cpuinfo").write_text(text)
        monkeypatch.setattr(module, "_CPUINFO", tmp_path / "cpuinfo")
        return processor()

    first = described(cpuinfo.format(""))
    assert described(cpuinfo.format("").replace("2596", "1200").replace("50.00", "49.00")) == first
    assert described(cpuinfo.format(" avx512f")) != first
    second_core = cpuinfo.format("").replace(": 0\n", ": 1\n", 1)
    assert described(cpuinfo.format("") + second_core) == first


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe nonsense"])
def test_without_cpuinfo_the_system_is_asked(tmp_path, monkeypatch, content):
    if content is not None:
        (tmp_path / "cpuinfo").write_bytes(content)
    monkeypatch.setattr(module, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(module, "_brand", lambda: "Some Processor")
    monkeypatch.setattr(platform, "processor", lambda: "Some Processor")
    assert processor() == f"{platform.machine()} Some Processor"


def test_the_host_name_is_no_part_of_it(monkeypatch):
    before = processor()
    monkeypatch.setattr(platform, "node", lambda: "another")
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    assert processor() == before
    assert platform.machine() in before
    assert cores() >= 1
