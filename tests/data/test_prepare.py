"""Preparing the samples: schema, counts, deduplication, checks and caching."""

import json
import shutil
import subprocess
import sys

import pytest

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from tests.benchmarks import SAMPLES  # noqa: E402
from verl_gpo.data import dedup  # noqa: E402
from verl_gpo.data.load import LoadError  # noqa: E402
from verl_gpo.data.prepare import PrepareError, Request, main, prepare  # noqa: E402
from verl_gpo.data.registry import DATASETS  # noqa: E402
from verl_gpo.data.templates import TEMPLATES  # noqa: E402
from verl_gpo.data.write import MANIFEST, sha256  # noqa: E402


def run(dataset, out, path=SAMPLES, **settings):
    settings = {"allow_partial": True, **settings}
    force = settings.pop("force", False)
    return prepare(Request(dataset, local_path=path, **settings), out, force=force, progress=False)


def rows(folder, split):
    return pq.read_table(folder / f"{split}.parquet").to_pylist()


#: What verl's examples/data_preprocess/gsm8k.py (verl 0.9) writes, read off a parquet file it wrote; math_dataset.py
#: writes the same five columns with only split and index in extra_info, and leaves its input's level and type beside.
VERL = pa.schema(
    [
        ("data_source", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("ability", pa.string()),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        (
            "extra_info",
            pa.struct(
                [("split", pa.string()), ("index", pa.int64()), ("answer", pa.string()), ("question", pa.string())]
            ),
        ),
    ]
)


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_has_verls_schema(name, tmp_path):
    manifest, cached = run(name, tmp_path / "out")
    assert not cached
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted([MANIFEST, *manifest["files"]])
    for split in DATASETS[name].splits:
        schema = pq.read_schema(tmp_path / "out" / f"{split}.parquet").remove_metadata()
        assert schema.names == VERL.names
        assert all(schema.field(column).type == VERL.field(column).type for column in VERL.names[:-1])
        extra = list(schema.field("extra_info").type)
        assert extra[:4] == list(VERL.field("extra_info").type)
        assert [(field.name, field.type) for field in extra[4:]] == [("task", pa.string()), ("metadata", pa.string())]
        found = rows(tmp_path / "out", split)
        assert len(found) == manifest["splits"][split]["written"] == manifest["files"][f"{split}.parquet"]["rows"] > 0
        assert manifest["files"][f"{split}.parquet"]["sha256"] == sha256(tmp_path / "out" / f"{split}.parquet")
        for one in found:
            assert one["data_source"] == DATASETS[name].source == manifest["data_source"]
            assert one["extra_info"]["question"] in one["prompt"][-1]["content"]
            assert one["reward_model"]["ground_truth"] and one["extra_info"]["split"] == split
            json.loads(one["extra_info"]["metadata"])


def test_rows_of_gsm8k_and_math_are_verls(tmp_path):
    run("gsm8k", tmp_path / "g")
    run("math", tmp_path / "m")
    first = rows(tmp_path / "g", "train")[1]
    assert first["prompt"] == [
        {
            "role": "user",
            "content": "A theatre sells 1,250 tickets at $8 each. What are the takings in dollars? Let's think step by "
            'step and output the final answer after "####".',
        }
    ]
    assert first["reward_model"] == {"style": "rule", "ground_truth": "10000"}
    assert first["extra_info"]["answer"].endswith("#### 10,000") and first["extra_info"]["index"] == 1
    last = rows(tmp_path / "m", "train")[-1]
    assert last["prompt"][0]["content"].endswith("step and output the final answer within \\boxed{}.")
    assert last["reward_model"]["ground_truth"] == "3"  # from "\boxed 3"
    assert (last["extra_info"]["task"], json.loads(last["extra_info"]["metadata"])) == (
        "Geometry",
        {"level": "Level 1"},
    )


def test_columns_become_answers(tmp_path):
    for name, answers in {
        "aime24": ["024", "900"],
        "aime25": ["71", "70"],
        "amc23": ["30", "-1"],
        "mmlu_pro": ["J", "B", "A"],
        "mmlu": ["B", "C"],
        "mmlu_stem": ["B", "D"],
    }.items():
        run(name, tmp_path / name)
        assert [row["reward_model"]["ground_truth"] for row in rows(tmp_path / name, "test")] == answers
    question = rows(tmp_path / "mmlu", "test")[0]["extra_info"]["question"]
    assert question.endswith("?\nA. Oxygen\nB. Carbon dioxide\nC. Helium\nD. Neon")
    run("bbh", tmp_path / "bbh")
    tasks = {row["extra_info"]["task"]: row["reward_model"]["ground_truth"] for row in rows(tmp_path / "bbh", "test")}
    assert len(tasks) == 27 and tasks["word_sorting"] == "at&t fig pear plum"


def test_dapo_is_unframed_and_deduplicated_and_kept_apart_from_evaluation_sets(tmp_path):
    manifest, _ = run("dapo_math_17k", tmp_path / "out", template="boxed")
    report = manifest["splits"]["train"]
    # Of 7 rows: two repetitions (one exact, one but for spaces), a question with two answers, one that AIME 2025 asks.
    assert (report["read"], report["duplicates"], report["conflicting"], report["written"]) == (7, 3, 1, 2)
    assert report["held_out"] == dict.fromkeys(manifest["holdouts"], 0) | {"aime25": 1}
    assert [row["extra_info"]["index"] for row in rows(tmp_path / "out", "train")] == [0, 2]
    second = rows(tmp_path / "out", "train")[1]
    assert (
        second["extra_info"]["question"]
        == "Find the number of subsets of a set with five elements.\n\nThe empty set counts."
    )
    assert "Remember" not in second["prompt"][0]["content"] and second["prompt"][0]["content"].endswith("\\boxed{}.")
    # Asked as DAPO asks, the prompt is the published one.
    run("dapo_math_17k", tmp_path / "same", holdout=("none",))
    published = json.loads((SAMPLES / "dapo_math_17k.jsonl").read_text().splitlines()[2])["prompt"][0]["content"]
    found = rows(tmp_path / "same", "train")
    assert found[1]["prompt"][0]["content"] == published and len(found) == 3


def test_rows_without_an_answer_are_counted(tmp_path):
    manifest, _ = run("deepscaler", tmp_path / "out")
    assert (manifest["splits"]["train"]["unusable"], manifest["splits"]["train"]["written"]) == (1, 2)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What is $x$?", "what is  x", True),
        (r"Find $\dfrac{1}{2}$.", r"Find \( \frac{1}{2} \)", True),
        (r"Find $\left(1,\!000\right)$", "Find $(1000)$", True),
        ("Find 2+3", "Find 2-3", False),
        ("Find 1.5", "Find 15", False),
        ("Find $x^2$", "Find $x2$", False),
        ("Is A<B?", "Is A>B?", False),
    ],
)
def test_questions_that_are_the_same(one, other, same):
    assert (dedup.key(one) == dedup.key(other)) == same


def test_wrong_sizes_are_errors_unless_accepted(tmp_path, capsys):
    with pytest.raises(PrepareError, match="aime24 test has 2 rows, published are 30: .*--allow-partial"):
        run("aime24", tmp_path / "out", allow_partial=False)
    with pytest.raises(
        PrepareError, match="gsm8k test has 2 rows, published are 1,319"
    ):  # as a holdout of its train set
        run("gsm8k", tmp_path / "out", allow_partial=False, split=("train",))
    assert list(tmp_path.iterdir()) == []
    command = ["--dataset", "aime24", "--out", str(tmp_path / "out"), "--local-path", str(SAMPLES)]
    assert main(command) == 1
    assert "error: aime24 test has 2 rows" in capsys.readouterr().err
    assert main([*command, "--allow-partial"]) == 0
    assert "warning: aime24 test has 2 rows, published are 30" in capsys.readouterr().err
    assert main(command) == 1  # what was accepted then is not accepted now


def test_found_again_renewed_and_never_over_strangers(tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    first, cached = run("amc23", out)
    stamp = (out / MANIFEST).stat().st_mtime_ns
    assert run("amc23", out) == (first, True) and not cached
    assert (out / MANIFEST).stat().st_mtime_ns == stamp
    assert run("amc23", out, force=True)[1] is False
    assert run("amc23", out, template="plain")[1] is False  # other settings: written anew
    assert rows(out, "test")[0]["prompt"][0]["content"] == "How many minutes are half an hour?"
    (out / "test.parquet").write_bytes(b"damaged")
    assert run("amc23", out, template="plain")[1] is False
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(SAMPLES / "amc23.jsonl", copy)
    run("amc23", out, copy)
    with (copy / "amc23.jsonl").open("a") as file:
        file.write('{"id": 2, "question": "What is $2$?", "answer": 2.0, "url": ""}\n')
    manifest, cached = run("amc23", out, copy)  # the copy has changed
    assert not cached and manifest["splits"]["test"]["written"] == 3
    with pytest.raises(FileExistsError, match="holds amc23: choose another folder, or --force"):
        run("aime25", out)
    (out / MANIFEST).unlink()
    with pytest.raises(FileExistsError, match="was not written by this command"):
        run("amc23", out, force=True)
    assert [path.name for path in out.parent.iterdir()] == ["out"]  # no leftovers


def test_errors_name_the_file_and_what_to_do(tmp_path):
    with pytest.raises(LoadError, match="--local-path .*nowhere does not exist"):
        run("aime24", tmp_path / "out", tmp_path / "nowhere")
    broken = tmp_path / "aime24.jsonl"
    broken.write_text('{"problem": "x", "answer": "1"}\n{"problem"\n')
    with pytest.raises(LoadError, match=r"aime24.jsonl:2 is not JSON"):
        run("aime24", tmp_path / "out", broken)
    broken.write_text('{"problem": "x", "solution_text": "1"}\n')
    with pytest.raises(LoadError, match="holds no split 'test' of aime25"):
        run("aime25", tmp_path / "out", tmp_path)
    (tmp_path / "math500.jsonl").write_text('{"problem": "x", "solution_text": "1"}\n')
    with pytest.raises(
        PrepareError,
        match=r"row 0 \(line 1\), column answer: is missing; the columns found are problem, solution_text",
    ):
        run("math500", tmp_path / "out", tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(LoadError, match="x.parquet is not a parquet file"):
        run("aime24", tmp_path / "out", tmp_path / "x.parquet")
    with pytest.raises(LoadError, match="is of no known kind: a file must end in .parquet, .jsonl, .json"):
        run("aime24", tmp_path / "out", SAMPLES.parent / "test_prepare.py")
    # A training set whose holdouts are not there.
    with pytest.raises(LoadError, match="checked against gsm8k: .* --holdout gsm8k=PATH .* --holdout none"):
        run("deepscaler", tmp_path / "out", SAMPLES / "deepscaler.json")
    with pytest.raises(PrepareError, match="--holdout nosuch: no such evaluation set; known are gsm8k"):
        run("deepscaler", tmp_path / "out", SAMPLES, holdout=("nosuch",))
    manifest, _ = run("deepscaler", tmp_path / "out", SAMPLES / "deepscaler.json", holdout=(f"aime25={SAMPLES}",))
    assert manifest["holdouts"] == ["aime25"]


def test_templates_keep_braces_and_may_have_a_system_message():
    question = r"Find $\frac{x}{2}$ for {question} {answer}"
    for name, template in TEMPLATES.items():
        messages = template.messages(question)
        assert question in messages[-1]["content"], name
        assert [message["role"] for message in messages] == ["system", "user"][-len(messages) :]
    assert len(TEMPLATES["r1"].messages("x")) == 2


def test_command_line_runs_without_the_frameworks(tmp_path):
    call = [sys.executable, "-m", "verl_gpo.data.prepare", "--list"]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and "| `mmlu_pro` | `TIGER-Lab/MMLU-Pro` |" in done.stdout
