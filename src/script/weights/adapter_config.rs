//! adapter_config.json of a LoRA adapter (Hu et al. 2022), after PEFT's `LoraConfig`. A field that
//! is not known here and could change the result is an error.

use fancy_regex::Regex;
use serde_json::{Map, Value};

use crate::{Result, bail, error};

/// The largest rank: no model has so wide a matrix.
const MOST_RANK: u64 = 1 << 20;

/// Fields that say how the adapter was trained, or what its tensors say too.
const IRRELEVANT: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    // PEFT corrects it by the kind of module.
    "fan_in_fan_out",
    "inference_mode",
    "lora_dropout",
    "lora_ga_config",
    "loftq_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// What an adapter's config says of its tensors.
pub struct AdapterConfig {
    r: usize,
    alpha: f64,
    /// Whether the scale is alpha / √r instead of alpha / r.
    rank_stabilised: bool,
    /// Ranks and alphas of modules whose names a pattern fits, the first pattern first.
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
    targets: Modules,
    excluded: Option<Modules>,
    /// The modules that are stored whole.
    saved: Vec<String>,
    /// The only layers whose modules are adapted, and the names that lists of layers may have.
    layers: Option<Vec<u64>>,
    layers_pattern: Vec<String>,
}

/// Modules by their names.
enum Modules {
    /// `all-linear`
    Linear,
    /// The whole name fits a pattern.
    Pattern(Box<Regex>),
    /// The name, or its end, is one of these.
    Names(Vec<String>),
}

/// A pattern that a whole name has to fit.
fn pattern(field: &str, text: &str) -> Result<Regex> {
    Regex::new(&format!(r"\A(?:{text})\z"))
        .map_err(|_| error!("adapter_config.json: {field} has {text:?}, which is no pattern"))
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

/// Whether a list of names means a module by `name`.
pub fn is_end(module: &str, name: &str) -> bool {
    module == name || module.ends_with(&format!(".{name}"))
}

impl Modules {
    fn read(field: &str, value: &Value) -> Result<Self> {
        let wrong = || {
            error!(
                "adapter_config.json: {field} must be a pattern or an array of names, not {value}"
            )
        };
        match value {
            Value::String(text) if text.eq_ignore_ascii_case("all-linear") => Ok(Self::Linear),
            Value::String(text) => Ok(Self::Pattern(Box::new(pattern(field, text)?))),
            Value::Array(all) => {
                let name = |one: &Value| one.as_str().map(str::to_owned).ok_or_else(wrong);
                Ok(Self::Names(all.iter().map(name).collect::<Result<_>>()?))
            }
            _ => Err(wrong()),
        }
    }

    fn has(&self, module: &str, linear: bool) -> bool {
        match self {
            Self::Linear => linear,
            Self::Pattern(pattern) => pattern.is_match(module).unwrap_or(false),
            Self::Names(names) => names.iter().any(|name| is_end(module, name)),
        }
    }
}

impl AdapterConfig {
    /// # Errors
    /// A field is missing, of a wrong type, or can't be honoured; the error names it.
    pub fn read(config: &Map<String, Value>) -> Result<Self> {
        let kind = config.get("peft_type").and_then(Value::as_str).unwrap_or("none");
        if !kind.eq_ignore_ascii_case("lora") {
            bail!("adapter_config.json: peft_type {kind:?} can't be honoured; LORA is");
        }
        let reader = Reader { config, known: IRRELEVANT.to_vec().into() };
        match reader.get("init_lora_weights") {
            None | Some(Value::Bool(true)) => {}
            Some(Value::String(how))
                if ["gaussian", "orthogonal", "eva"].contains(&how.as_str()) => {}
            Some(other) => bail!(
                "adapter_config.json: init_lora_weights = {other} changes the model's own weights, which can't be honoured"
            ),
        }
        // PEFT takes the biases that the file has, whatever this says of how they were trained.
        match reader.get("bias") {
            None => {}
            Some(Value::String(which))
                if ["none", "all", "lora_only"].contains(&which.as_str()) => {}
            Some(other) => bail!(
                "adapter_config.json: bias must be \"none\", \"all\" or \"lora_only\", not {other}"
            ),
        }
        let whole = |value: &Value| value.as_u64().filter(|n| (1..=MOST_RANK).contains(n));
        let rank = |name: &str, value: &Value| match whole(value) {
            Some(rank) => Ok(rank as usize),
            None => bail!(
                "adapter_config.json: {name} must be a whole number from 1 to {MOST_RANK}, not {value}"
            ),
        };
        let number = |name: &str, value: &Value| match value.as_f64().filter(|x| x.is_finite()) {
            Some(number) => Ok(number),
            None => bail!("adapter_config.json: {name} must be a number, not {value}"),
        };
        let missing = |name: &str| error!("adapter_config.json has no {name}");
        let layers = match reader.get("layers_to_transform") {
            None => None,
            Some(value) => {
                let listed = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
                let all: Option<Vec<u64>> = listed.iter().map(Value::as_u64).collect();
                Some(all.ok_or_else(|| {
                    error!("adapter_config.json: layers_to_transform must be layers, not {value}")
                })?)
            }
        };
        let texts = |name: &'static str| -> Result<Vec<String>> {
            match reader.get(name) {
                None => Ok(Vec::new()),
                Some(Value::String(one)) => Ok(vec![one.clone()]),
                Some(value) => {
                    let all = value.as_array().and_then(|all| {
                        all.iter().map(|one| one.as_str().map(str::to_owned)).collect()
                    });
                    all.ok_or_else(|| {
                        error!("adapter_config.json: {name} must be names, not {value}")
                    })
                }
            }
        };
        let read = Self {
            r: rank("r", reader.get("r").ok_or_else(|| missing("r"))?)?,
            alpha: number(
                "lora_alpha",
                reader.get("lora_alpha").ok_or_else(|| missing("lora_alpha"))?,
            )?,
            rank_stabilised: match reader.get("use_rslora") {
                None => false,
                Some(Value::Bool(is)) => *is,
                Some(other) => {
                    bail!("adapter_config.json: use_rslora must be true or false, not {other}")
                }
            },
            ranks: reader.patterns("rank_pattern", rank)?,
            alphas: reader.patterns("alpha_pattern", number)?,
            targets: Modules::read(
                "target_modules",
                reader.get("target_modules").ok_or_else(|| missing("target_modules"))?,
            )?,
            excluded: reader
                .get("exclude_modules")
                .map(|value| Modules::read("exclude_modules", value))
                .transpose()?,
            saved: texts("modules_to_save")?,
            layers,
            layers_pattern: texts("layers_pattern")?,
        };
        reader.finish()?;
        Ok(read)
    }

    /// Whether the module is adapted; `linear` tells whether it is a linear module of the blocks.
    pub fn adapts(&self, module: &str, linear: bool) -> bool {
        let excluded = self.excluded.as_ref().is_some_and(|of| of.has(module, linear));
        let kept_whole = self.saved.iter().any(|name| is_end(module, name));
        !excluded && !kept_whole && self.targets.has(module, linear) && self.is_in_layers(module)
    }

    /// The names in `modules_to_save`.
    pub fn saved(&self) -> &[String] {
        &self.saved
    }

    /// The names in `target_modules`, where it is a list.
    pub fn named_targets(&self) -> &[String] {
        match &self.targets {
            Modules::Names(names) => names,
            Modules::Linear | Modules::Pattern(_) => &[],
        }
    }

    /// Whether the layer that the module is in is one of those that are adapted.
    fn is_in_layers(&self, module: &str) -> bool {
        let (Some(layers), Modules::Names(_)) = (&self.layers, &self.targets) else { return true };
        let parts: Vec<&str> = module.split('.').collect();
        let layer = parts.windows(2).find_map(|pair| {
            let listed = self.layers_pattern.is_empty()
                || self.layers_pattern.iter().any(|of| of == pair[0]);
            pair[1].parse::<u64>().ok().filter(|_| listed)
        });
        layer.is_some_and(|layer| layers.contains(&layer))
    }

    /// The rank of a module's factors.
    pub fn rank(&self, module: &str) -> usize {
        first(&self.ranks, module).unwrap_or(self.r)
    }

    /// The factor on the product of a module's factors.
    pub fn scale(&self, module: &str) -> f64 {
        let (rank, alpha) =
            (self.rank(module) as f64, first(&self.alphas, module).unwrap_or(self.alpha));
        if self.rank_stabilised { alpha / rank.sqrt() } else { alpha / rank }
    }
}

fn first<T: Copy>(patterns: &[(Regex, T)], module: &str) -> Option<T> {
    let fits = |(pattern, _): &&(Regex, T)| pattern.is_match(module).unwrap_or(false);
    patterns.iter().find(fits).map(|(_, value)| *value)
}

/// Reads fields and notes which.
struct Reader<'a> {
    config: &'a Map<String, Value>,
    known: std::cell::RefCell<Vec<&'static str>>,
}

impl<'a> Reader<'a> {
    /// The value of a field, unless it is as if it were not there.
    fn get(&self, name: &'static str) -> Option<&'a Value> {
        self.known.borrow_mut().push(name);
        // `init_lora_weights: false` is a value like others, and means random factors.
        self.config.get(name).filter(|value| is_set(value))
    }

    /// A map from patterns to values: a pattern has to fit the end of a module's name.
    fn patterns<T>(
        &self,
        name: &'static str,
        read: impl Fn(&str, &Value) -> Result<T>,
    ) -> Result<Vec<(Regex, T)>> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        let Some(map) = value.as_object() else {
            bail!("adapter_config.json: {name} must be a map, not {value}")
        };
        let entry = |(text, value): (&String, &Value)| {
            Ok((pattern(name, &format!(r"(.*\.)?({text})"))?, read(name, value)?))
        };
        map.iter().map(entry).collect()
    }

    /// # Errors
    /// A field is set that was not read and could change the result.
    fn finish(&self) -> Result<()> {
        let known = self.known.borrow();
        let unknown = self
            .config
            .iter()
            .find(|(name, value)| is_set(value) && !known.contains(&name.as_str()));
        match unknown {
            Some((name, value)) => {
                bail!(
                    "adapter_config.json: {name} = {value} can't be honoured: only plain LoRA is known"
                )
            }
            None => Ok(()),
        }
    }
}
