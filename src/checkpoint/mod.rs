//! Placeholder until the real one lands.
use crate::{Result, error};
use candle_core::{Device, Tensor};
use std::collections::HashMap;

#[derive(Default, Clone)]
pub struct Open {
    pub revision: Option<String>,
    pub offline: bool,
}
pub struct Checkpoint {
    pub id: String,
    pub revision: Option<String>,
    pub config: serde_json::Map<String, serde_json::Value>,
    pub weights: HashMap<String, Tensor>,
    tokenizer: Tokenizer,
}
impl Checkpoint {
    pub fn open(id: &str, _: &Open) -> Result<Self> {
        let d = std::path::PathBuf::from(id.replace("demo:opt", "/tmp/demo-opt"));
        let config = serde_json::from_slice(&std::fs::read(d.join("config.json")).map_err(|e| error!("{e}"))?).unwrap();
        let mut weights = HashMap::new();
        for e in std::fs::read_dir(&d).unwrap() {
            let p = e.unwrap().path();
            let n = p.file_name().unwrap().to_string_lossy().into_owned();
            if n.starts_with("model") && n.ends_with(".safetensors") {
                weights.extend(candle_core::safetensors::load(&p, &Device::Cpu)?);
            }
            if n.ends_with(".bin") {
                weights.extend(candle_core::pickle::read_all(&p)?);
            }
        }
        let tokenizer = Tokenizer(tokenizers::Tokenizer::from_file(d.join("tokenizer.json")).ok());
        Ok(Self { id: id.into(), revision: None, config, weights, tokenizer })
    }
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        Ok(&self.tokenizer)
    }
}
pub struct Tokenizer(Option<tokenizers::Tokenizer>);
impl Tokenizer {
    pub fn encode(&self, t: &str, s: bool) -> Result<Vec<u32>> {
        Ok(self.0.as_ref().unwrap().encode(t, s).unwrap().get_ids().to_vec())
    }
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        Ok(self.0.as_ref().unwrap().decode(ids, false).unwrap())
    }
    pub fn token_strings(&self, ids: &[u32]) -> Result<Vec<String>> {
        ids.iter().map(|i| self.decode(&[*i])).collect()
    }
    pub fn single_token(&self, t: &str) -> Result<u32> {
        Ok(self.encode(t, false)?[0])
    }
    pub fn pad_id(&self) -> u32 {
        0
    }
}
