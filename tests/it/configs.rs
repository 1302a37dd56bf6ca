//! Configs that differ from a family's usual one in a key or a few: the logits are transformers', or
//! the config is refused. What transformers makes of each is in tests/fixtures/configs, which
//! `tests/oracle/configs.py` writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use precompute::model::family::{self, FAMILIES, Reading};
use precompute::model::{Decoder, Input};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What tests/oracle/configs.py gives every model to read.
const IDS: [u32; 12] = [3, 17, 5, 29, 11, 2, 38, 23, 7, 31, 13, 1];

/// One family's cases, see tests/oracle/configs.py.
#[derive(Deserialize)]
struct Cases {
    configs: BTreeMap<String, Map<String, Value>>,
    logits: Vec<Vec<f32>>,
    cases: Vec<(String, Map<String, Value>, Option<usize>)>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/configs")
}

/// The config with the keys of a change set, as `put` in tests/oracle/configs.py does it.
fn changed(config: &Map<String, Value>, change: &Map<String, Value>) -> Map<String, Value> {
    let mut config = config.clone();
    'keys: for (key, value) in change.iter().filter(|(key, _)| !key.starts_with('<')) {
        let (path, last) = key.rsplit_once('/').unwrap_or(("", key));
        let mut at = &mut config;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let inner = at.entry(part).or_insert_with(|| Map::new().into());
            let Some(inner) = inner.as_object_mut() else { continue 'keys };
            at = inner;
        }
        match value == "<drop>" {
            true => drop(at.remove(last)),
            false => drop(at.insert(last.into(), value.clone())),
        }
    }
    config
}

/// The checkpoint of a change: one of those stored, and maybe an unembedding of its own.
fn weights(
    stored: &HashMap<String, Tensor>,
    change: &Map<String, Value>,
) -> HashMap<String, Tensor> {
    let which =
        change.get("<weights>").map_or(String::new(), |it| format!("{}/", it.as_str().unwrap()));
    let of = |(name, tensor): (&String, &Tensor)| {
        let name = name.strip_prefix(&which)?;
        (!name.contains('/') && name != "head").then(|| (name.to_owned(), tensor.clone()))
    };
    let mut weights: HashMap<String, Tensor> = stored.iter().filter_map(of).collect();
    if change.contains_key("<head>") {
        weights.insert("lm_head.weight".into(), stored["head"].clone());
    }
    weights
}

/// What becomes of a config: the first six logits at the last position, or why there are none.
type Outcome = Result<Vec<f32>, String>;

/// The outcomes of one family's configs. Of two configs that are read as the same decoder, with the
/// same weights, one is computed.
struct Outcomes {
    stored: HashMap<String, Tensor>,
    known: HashMap<String, Outcome>,
}

impl Outcomes {
    fn of(&mut self, config: &Map<String, Value>, change: &Map<String, Value>) -> Outcome {
        let Reading { spec, names, .. } =
            family::read(config).map_err(|error| error.message().to_owned())?;
        let which = change.iter().filter(|(key, _)| key.starts_with('<'));
        let key = format!("{spec:?} {names:?} {:?}", which.collect::<Vec<_>>());
        let computed = || logits(config, &weights(&self.stored, change));
        self.known.entry(key).or_insert_with(computed).clone()
    }
}

fn logits(config: &Map<String, Value>, weights: &HashMap<String, Tensor>) -> Outcome {
    let decoder = Decoder::load(config, weights, DType::F32, &Device::Cpu);
    let decoder = decoder.map_err(|error| error.message().to_owned())?;
    let logits = decoder.logits(&Input::tokens(&IDS).unwrap());
    let logits = logits.map_err(|error| error.message().to_owned())?;
    Ok(logits.get(0).unwrap().get(IDS.len() - 1).unwrap().to_vec1::<f32>().unwrap()[..6].to_vec())
}

#[test]
fn every_config_gives_what_transformers_gives_or_is_refused() {
    let mut wrong = Vec::new();
    let mut deviations = BTreeSet::new();
    let (mut tried, mut agreed) = (0, 0);
    for family in FAMILIES {
        let path = fixtures().join(format!("{}.json", family.name));
        let Cases { configs, logits: outcomes, cases } =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let path = fixtures().join(format!("{}.safetensors", family.name));
        let stored = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        let mut found = Outcomes { stored, known: HashMap::new() };
        for (style, change, outcome) in cases {
            let what = format!("{} {style} {}", family.name, Value::from(change.clone()));
            let got = found.of(&changed(&configs[&style], &change), &change);
            tried += 1;
            match (got, outcome) {
                (Ok(got), Some(outcome)) => {
                    let pairs = got.iter().zip(&outcomes[outcome]);
                    let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    // NaN is no agreement either.
                    match off < 1e-4 {
                        true => agreed += 1,
                        false => wrong.push(format!("{what}: off by {off}")),
                    }
                }
                (Ok(_), None) => drop(deviations.insert(format!("taken {what}"))),
                (Err(why), Some(_)) => {
                    deviations.insert(format!("refused {what}: {why}"));
                }
                (Err(_), None) => {}
            }
        }
    }
    println!("{tried} configs, {agreed} agree, {} deviate", deviations.len());
    assert!(wrong.is_empty(), "{} of {tried} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    // What is refused here and not there, and the other way round, each with the reason.
    let path = fixtures().join("deviations.txt");
    let found = deviations.into_iter().collect::<Vec<_>>().join("\n") + "\n";
    if std::env::var_os("PRECOMPUTE_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap();
    assert_eq!(found, known, "PRECOMPUTE_BLESS=1 writes tests/fixtures/configs/deviations.txt");
    assert!(agreed > 7400 && tried > 11400, "{agreed} of {tried}");
}
