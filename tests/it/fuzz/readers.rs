//! The readers of what strangers write, each called as the program calls it.

use std::path::Path;

use candle_core::{DType, Device};
use precompute::checkpoint::hub::response;
use precompute::checkpoint::{Checkpoint, OpenOptions};
use precompute::data::rows::{Numbers, ReadOptions, RowFile, Rows};
use precompute::model::family;
use precompute::output::load;
use precompute::output::record::Record;
use precompute::recipe::{Header, LockFile};
use precompute::script::{Host, Settings};
use precompute::tensor::WeightSource;
use tempfile::TempDir;

use super::{Outcome, fuzz};
use crate::attacks::forge::archive;

/// A directory with files, for readers that open them themselves.
fn place(files: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    files
        .iter()
        .for_each(|(name, bytes)| std::fs::write(directory.path().join(name), bytes).unwrap());
    directory
}

fn sentence(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn checkpoint(directory: &Path) -> Result<Checkpoint, String> {
    Checkpoint::open(directory.to_str().unwrap(), &OpenOptions::default()).map_err(sentence)
}

/// Every tensor of a checkpoint, unless it takes far more than the file has bytes: that is the
/// run's limit to refuse.
fn tensors(file: &str, bytes: &[u8]) -> Outcome {
    let directory = place(&[("config.json", b"{}"), (file, bytes)]);
    let weights = checkpoint(directory.path())?.weights;
    let mut wrong = Ok(());
    for name in weights.names() {
        let elements = weights
            .shape(&name)
            .map_or(0, |shape| shape.iter().fold(1usize, |all, n| all.saturating_mul(*n)));
        if elements < 1 << 20
            && let Err(error) = weights.load(&name, DType::F32, &Device::Cpu)
        {
            wrong = Err(sentence(error));
        }
    }
    wrong
}

/// What `load_tensors` makes of a file of that name.
fn loaded(name: &str, bytes: &[u8]) -> Outcome {
    let directory = place(&[(name, bytes)]);
    let file = std::fs::File::open(directory.path().join(name)).unwrap();
    let alone = |name: &str| Err(precompute::Error::new(format!("there is no {name}")));
    load::load(&file, name, &alone).map(drop).map_err(sentence)
}

#[test]
fn config() {
    fuzz(
        "config",
        &[
            "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0},",
            "\"head_dim\":",
            "\"sliding_window\":1,",
        ],
        |bytes| {
            let config = serde_json::from_slice(bytes).map_err(sentence)?;
            family::read(&config).map(drop).map_err(sentence)
        },
    );
}

#[test]
fn pickle() {
    fuzz(
        "pickle",
        &[
            "\u{2}",
            "q\0",
            "h\0",
            "ctorch._utils\n_rebuild_tensor_v2\n",
            "ctorch._utils\n_rebuild_parameter\n",
            "(",
            "t",
            "R",
            "Q",
            "2",
            "0",
        ],
        |bytes| {
            tensors("pytorch_model.bin", &archive(bytes, &[("0", &[0; 64]), ("1", &[255; 32])]))
        },
    );
}

#[test]
fn pickle_archive() {
    fuzz(
        "archive",
        &["PK\u{3}\u{4}", "PK\u{1}\u{2}", "PK\u{5}\u{6}", "PK\u{6}\u{6}", "data.pkl"],
        |bytes| tensors("pytorch_model.bin", bytes),
    );
}

#[test]
fn safetensors() {
    fuzz(
        "safetensors",
        &["\"data_offsets\":[0,4]", "\"shape\":[0,", "\"dtype\":\"F4\"", "\"dtype\":\"BOOL\""],
        |bytes| {
            tensors("model.safetensors", bytes)?;
            loaded("x.safetensors", bytes)
        },
    );
}

#[test]
fn gguf() {
    let words = [
        "GGUF",
        "blk.0.attn_q.weight",
        "general.alignment",
        "qwen2.block_count",
        "\u{0}\u{0}\u{0}\u{0}",
    ];
    fuzz("gguf", &words, |bytes| {
        let directory = place(&[("x.gguf", bytes)]);
        let weights = checkpoint(&directory.path().join("x.gguf"))?.weights;
        weights.names().iter().try_for_each(|name| {
            weights.load(name, DType::F32, &Device::Cpu).map(drop).map_err(sentence)
        })
    });
}

#[test]
fn npy() {
    fuzz("npy", &["'descr':", "'shape': (", "'fortran_order': True", ",", "<f8", "|O"], |bytes| {
        loaded("x.npy", bytes)
    });
}

#[test]
fn npz() {
    let words = ["PK\u{3}\u{4}", "PK\u{1}\u{2}", "PK\u{5}\u{6}", ".npy", "'descr': '<f8'"];
    fuzz("npz", &words, |bytes| loaded("x.npz", bytes));
}

/// What comes of an input as rows, in each format.
#[test]
fn rows() {
    let words = ["PAR1", "{\"a\":", "\"", ",", "\n", "\u{1f}", "(\u{b5}/", "[[[["];
    fuzz("rows", &words, |bytes| {
        let mut outcome = Ok(());
        for name in ["x.parquet", "x.jsonl", "x.csv", "x.txt", "x.jsonl.gz", "x.tsv.zst"] {
            let directory = place(&[(name, bytes)]);
            let file = std::fs::File::open(directory.path().join(name)).unwrap();
            let options = ReadOptions { columns: None, numbers: Numbers::Everywhere };
            let rows = Rows::new(vec![RowFile::of_file(name, file)], options).unwrap();
            let read = rows.iter().take(1000).try_for_each(|row| row.map(drop));
            outcome = outcome.and(read.and(rows.len().map(drop)).map_err(sentence));
        }
        outcome
    });
}

#[test]
fn store() {
    let words = ["\"rows\":3", "\"shape\":[", "\"F64\"", "18446744073709551615", "\"shards\":["];
    // The shard that the index of the seed is of.
    let mut shard = br#"{"x":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}}"#.to_vec();
    shard.splice(0..0, (shard.len() as u64).to_le_bytes());
    shard.extend([0; 24]);
    fuzz("store", &words, |bytes| {
        let directory = place(&[
            ("s.rhai", b"load_store(\".\")[0..1]"),
            ("index.json", bytes),
            ("shard-00000.safetensors", &shard),
        ]);
        let settings = Settings {
            silent: true,
            out: Some(directory.path().join("out")),
            ..Settings::default()
        };
        let ran = Host::new(settings).unwrap().run_file(&directory.path().join("s.rhai"));
        ran.map(drop).map_err(sentence)
    });
}

#[test]
fn index_of_shards() {
    fuzz(
        "index",
        &["\"weight_map\":", "\"../x\"", "\"/x\"", "\"model.safetensors.index.json\""],
        |bytes| {
            let directory =
                place(&[("config.json", b"{}"), ("model.safetensors.index.json", bytes)]);
            checkpoint(directory.path()).map(drop)
        },
    );
}

#[test]
fn tokenizer() {
    let weights =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/safetensors/two"))
            .unwrap();
    fuzz(
        "tokenizer",
        &[
            "\"String\":\"\"",
            "\"Regex\":\"(a*)*\"",
            "\"ids\":[]",
            "\"max_length\":0",
            "\"type\":\"Sequence\"",
        ],
        |bytes| {
            let directory = place(&[
                ("config.json", b"{}"),
                ("model.safetensors", &weights),
                ("tokenizer.json", bytes),
            ]);
            let checkpoint = checkpoint(directory.path())?;
            let tokenizer = checkpoint.tokenizer().map_err(sentence)?;
            let ids =
                tokenizer.encode("Hab a\u{301} ab\n\0 \u{1f600}</s>", true).map_err(sentence)?;
            let mut stream = tokenizer.stream();
            for &id in &ids {
                stream.push(&[id]).map_err(sentence)?;
            }
            tokenizer
                .decode(&ids)
                .and_then(|_| tokenizer.text(&ids))
                .and_then(|_| tokenizer.labels(&ids))
                .map_err(sentence)?;
            tokenizer.single_token("a").map(drop).map_err(sentence)
        },
    );
}

#[test]
fn recipe_header() {
    fuzz(
        "header",
        &[
            "//! [params.x]\n",
            "//! type = \"int\"\n",
            "//! models = [\"gpt2\"]\n",
            "//! requires = \">=0\"\n",
            "[[",
            "'''",
        ],
        |bytes| Header::read("x.rhai", &String::from_utf8_lossy(bytes)).map(drop).map_err(sentence),
    );
}

#[test]
fn lock() {
    fuzz(
        "lock",
        &[
            "[[recipe]]\n",
            "layout = 1\n",
            "[recipe.files]\n",
            "\"../x\" = ",
            "@v1",
            "[[[[",
            "a.b.c.",
        ],
        |bytes| LockFile::parse(&String::from_utf8_lossy(bytes)).map(drop).map_err(sentence),
    );
}

#[test]
fn record_of_a_run() {
    fuzz(
        "record",
        &["\"files\":[]", "\"sha256\":\"0\"", "\"seed\":-1", "\"text\":null"],
        |bytes| {
            let directory = place(&[("run.json", bytes)]);
            Record::read(&directory.path().join("run.json")).map(drop).map_err(sentence)
        },
    );
}

#[test]
fn script() {
    let host = Host::new(Settings { silent: true, ..Settings::default() }).unwrap();
    let words = [
        "fn f(x) {",
        "|x| ",
        "`${",
        "switch x {",
        "import \"x\" as y;",
        "#{",
        "..=",
        "??",
        "?.",
        "/*",
        "0x",
        "\"\\u{",
    ];
    fuzz("script", &words, |bytes| host.check(&String::from_utf8_lossy(bytes)).map_err(sentence));
}

#[test]
fn answers_of_the_hub() {
    fuzz(
        "hub",
        &["\"sha\":", "\"siblings\":", "\"rfilename\":\"../x\"", "\"lfs\":", "\"oid\":"],
        |bytes| {
            let _ = response::quoted(bytes);
            let _ = response::parse_endpoint(&String::from_utf8_lossy(bytes));
            let said = [
                response::parse_git_hash(bytes, "config.json").map(drop),
                response::parse_listing(bytes, "main").map(drop),
            ];
            said.into_iter().min_by_key(Result::is_err).unwrap_or(Ok(())).map_err(sentence)
        },
    );
}
