"""Checks an installed wheel: the command runs, and `precompute.load` gives what a script saved.

Run by wheel.sh in a virtual environment that has the wheel, and numpy and pandas where they are said:

    python check.py [numpy] [pandas]
"""

import pathlib
import subprocess
import sys
import tempfile

import precompute

SCRIPT = """
save("one", tensor([[1.5, -2.0], [0.25, 4.0]]));
save("many", #{a: arange(3), half: tensor([1.0, 2.0], #{dtype: "bf16"}), yes: tensor([true, false])});
save("array.npy", arange(6).reshape([2, 3]));
save("spectrum", tensor([1.0, 0.0, 0.0, 0.0]).fft());
save("rows", [#{token: "=a", p: 0.5, n: 3}, #{token: "it", p: 1e-9, n: -4}]);
save("table.parquet", [#{token: "a", p: 0.5}, #{token: "b", p: 0.25}]);
save("facts", #{answer: 42, texts: ["a", "b"]});
save("lines.jsonl", [#{a: 1}, #{a: 2}]);
save("note.txt", "a note");
save("folder/deep", tensor([7]));
plot(#{title: "growth", y: tensor([1.0, 2.0, 4.0])});
"""

has = set(sys.argv[1:])


def run(script: str, out: pathlib.Path) -> precompute.Run:
    file = out.with_suffix(".rhai")
    file.write_text(script)
    subprocess.run(["precompute", "run", file, "--out", out], check=True, stdout=subprocess.DEVNULL)
    return precompute.load(out)


def raises(kind: type, f, said: str) -> None:
    try:
        f()
    except kind as error:
        assert said in str(error), f"{error} does not say {said!r}"
    else:
        raise AssertionError(f"no {kind.__name__} that says {said!r}")


with tempfile.TemporaryDirectory() as here:
    out = pathlib.Path(here) / "out"
    result = run(SCRIPT, out)
    assert len(result) == 11 and "note.txt" in result and repr(result).startswith("<run "), result
    assert result.record["outcome"] == "done"
    assert result["facts"] == {"answer": 42, "texts": ["a", "b"]}
    assert result["lines"] == [{"a": 1}, {"a": 2}]
    assert result["note"] == "a note\n"
    assert result["growth"].read_text().startswith("<svg") and result["growth"] == result.file("growth.svg")
    raises(KeyError, lambda: result["nothing"], "saved no 'nothing'")

    rows = [{"token": "=a", "p": 0.5, "n": 3}, {"token": "it", "p": 1e-9, "n": -4}]
    if "pandas" in has:
        frame = result["rows"]
        assert frame.to_dict("records") == rows and list(frame.columns) == ["token", "p", "n"], frame
        assert list(result["table"]["p"]) == [0.5, 0.25]
    else:
        assert result["rows"] == rows, result["rows"]
        raises(ImportError, lambda: result["table"], "pandas")

    if "numpy" in has:
        import numpy

        assert result["one"].tolist() == [[1.5, -2.0], [0.25, 4.0]] and result["one"].dtype == "f4"
        assert sorted(result["many"]) == ["a", "half", "yes"]
        assert result["many"]["a"].tolist() == [0, 1, 2] and result["many"]["a"].dtype == "i8"
        assert result["many"]["half"].tolist() == [1.0, 2.0]
        assert result["many"]["yes"].tolist() == [True, False]
        assert result["array"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert numpy.iscomplexobj(result["spectrum"]) and result["spectrum"].tolist() == [1, 1, 1, 1]
        assert result["folder/deep"].tolist() == [7]
    else:
        raises(ImportError, lambda: result["one"], "pip install numpy")

    # What a stranger could have put there.
    (out / "many.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")
    if "numpy" in has:
        raises(ValueError, lambda: result["many"], "its header is longer than the file")
    record = out / "run.json"
    record.write_text(record.read_text().replace('"note.txt"', '"../out.rhai"'))
    raises(ValueError, lambda: precompute.load(out)["../out"], "leads out of")
    record.write_text("[]")
    raises(ValueError, lambda: precompute.load(out), "not the record of a run")

print("the wheel holds what it should, with", " and ".join(sorted(has)) or "the standard library alone")
