"""What a CPU computes with, read from texts of ``/proc/cpuinfo``."""

import pytest

from verl_gpo.cpu import detect

X86 = "processor\t: 0\nmodel name\t: a CPU\nflags\t\t: fpu avx512f avx512_vnni{more}\nbugs\t\t: spectre_v1\n\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd{more}\nCPU part\t: 0xd4f\n"


@pytest.mark.parametrize(
    "text, expected",
    [
        (X86.format(more=""), ()),
        (X86.format(more=" avx512_bf16"), ("avx512_bf16",)),
        (X86.format(more=" avx512_bf16 amx_bf16 amx_tile"), ("amx_bf16", "avx512_bf16")),
        (X86.format(more=" avx512_bf16x"), ()),  # the whole flag only
        (ARM.format(more=" bf16 svebf16"), ("svebf16", "bf16")),
        (ARM.format(more=""), ()),
        ("", ()),
    ],
)
def test_bfloat16_units_by_the_flags(text, expected):
    assert detect.bfloat16_units(text) == expected


def test_another_system_has_none_that_are_known(monkeypatch):
    def missing(self):
        raise FileNotFoundError(self)

    monkeypatch.setattr(detect.pathlib.Path, "read_text", missing)
    assert detect.bfloat16_units() == ()


def test_cores_are_those_of_this_process(monkeypatch):
    monkeypatch.setattr(detect.os, "sched_getaffinity", lambda process: {3, 5, 6})
    assert detect.cores() == 3
