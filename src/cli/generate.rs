//! `precompute generate`.

use std::io::Read;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use rhai::{Array, Dynamic, Map};

use super::options::execution::assignment;
use super::options::limits::Limits;
use super::options::model::Models;
use crate::error;
use crate::script::{Console, Failure, Host, Settings, Streaming, Substitutes};
use crate::system::file::FileKind;

/// Continue a text, with the hooks of a script if one is given
///
/// One prompt is printed with its continuation, token by token; several prompts are continued
/// together, and printed when all are done. The speed is reported on standard error.
#[derive(Args)]
#[command(after_help = AFTER)]
pub struct Generate {
    #[command(flatten)]
    model: Models,

    /// Check every hook point of every pass for NaN and infinity, not only the output of each block
    #[arg(long)]
    check_finite: bool,

    /// The text to continue, or - to read it from standard input; given several times, the prompts
    /// are one batch
    #[arg(long, value_name = "TEXT", required = true)]
    prompt: Vec<String>,

    /// A script whose last value is an array of hooks or a context; they act on every token's pass
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    hooks: Option<PathBuf>,

    /// Give a parameter of that script its value
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,

    /// The most tokens to generate
    #[arg(long, value_name = "N", default_value_t = 40)]
    max_new_tokens: u32,

    /// Sample, from the logits divided by T. Without this, --top-k, --top-p and --min-p, the most
    /// likely token is taken
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,

    /// Sample from the K most likely tokens only
    #[arg(long, value_name = "K")]
    top_k: Option<u32>,

    /// Sample from the fewest tokens whose probabilities sum to P
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,

    /// Sample only from tokens that are at least P times as likely as the most likely one
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,

    /// Beam search: follow the N most likely continuations and return the best; nothing is sampled
    #[arg(long, value_name = "N")]
    num_beams: Option<u32>,

    /// Make tokens that are already in the text less likely; 1 changes nothing
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    repetition_penalty: Option<f64>,

    /// Seed of the random numbers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,

    /// Stop after this string; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,

    /// Continue after an end-of-text token
    #[arg(long)]
    ignore_eos: bool,

    /// Continue past the number of positions that the model was trained for, if it can
    #[arg(long)]
    beyond: bool,

    /// Run the whole text through the model for each token instead of caching keys and values, so
    /// that hooks see all of it
    #[arg(long)]
    no_cache: bool,

    /// Where the model computes: cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,

    /// The dtype that the model computes in, whatever its checkpoint has [default: f32]
    #[arg(long, value_name = "DTYPE", value_parser = ["f32", "f16", "bf16", "f64"])]
    dtype: Option<String>,

    /// Fetch nothing: use what is embedded, on disk or in the Hub's cache
    #[arg(long)]
    offline: bool,

    #[command(flatten)]
    limits: Limits,
}

const AFTER: &str = "\
Examples:
  precompute generate --model demo:opt --prompt 'Mary and John went to the store.'
  precompute generate --model gpt2 --prompt 'Once upon a time' --temperature 0.8 --top-p 0.95 --seed 1
  precompute generate --model demo:opt --prompt 'Mary' --hooks ablate.rhai";

/// The command as a script.
const SCRIPT: &str = "\
let m = model(id);
let ids = m.encode(prompts);
if hooks == () { m.generate(ids, options).text }
else if type_of(hooks) == \"context\" { m.generate(ids, hooks, options).text }
else { m.generate(ids, context(hooks), options).text }";

impl Generate {
    pub fn run(self) -> Result<(), Failure> {
        let (prompts, options) = (self.prompts()?, self.options());
        let alone = prompts.len() == 1;
        let models = self.model.read()?;
        let model = models.one.clone().unwrap_or_else(|| "demo:opt".into());
        let host = Host::new(Settings {
            models: Substitutes { one: Some(model.clone()), ..models },
            check_finite: self.check_finite,
            device: self.device,
            dtype: self.dtype,
            offline: self.offline,
            seed: self.seed.map(i64::cast_unsigned),
            streaming: Streaming::Output,
            params: self.set.into_iter().collect(),
            limits: self.limits.apply(),
            ..Settings::default()
        })
        .map_err(Failure::usage)?;
        let _deadline = host.deadline()?;
        let hooks = match &self.hooks {
            Some(path) => host.value_of(path)?,
            None => Dynamic::UNIT,
        };
        if self.hooks.is_some()
            && !hooks.is_array()
            && hooks.type_name().rsplit("::").next() != Some("Context")
        {
            let error =
                error!("--hooks: the script's last value must be an array of hooks or a context");
            return Err(Failure::usage(
                error.help("end it with [ hook(\"post-mlp\", |x, ctx| x) ]"),
            ));
        }
        let prompts = if alone { prompts[0].clone() } else { prompts.into() };
        // A model that the hooks' script named does not count as a second one.
        host.session().models().begin();
        let variables = [
            ("id", model.into()),
            ("prompts", prompts),
            ("hooks", hooks),
            ("options", options.into()),
        ];
        let texts = host.ask(SCRIPT, variables)?;
        let console = Console::default();
        for text in texts.read_lock::<Array>().iter().flat_map(|texts| texts.iter()) {
            console.line(&text.to_string());
        }
        console.check().map_err(Failure::from)
    }

    fn prompts(&self) -> Result<Array, Failure> {
        let read = |prompt: &String| -> Result<Dynamic, Failure> {
            if prompt != "-" {
                return Ok(prompt.clone().into());
            }
            let mut text = String::new();
            let largest = FileKind::Script.max_bytes();
            let cause = std::io::stdin().take(largest + 1).read_to_string(&mut text).err();
            match cause {
                None if text.len() as u64 > largest => Err(Failure::usage(error!(
                    "standard input has more than {} MiB, which no prompt has",
                    largest >> 20
                ))),
                None => Ok(text.trim_end_matches('\n').to_owned().into()),
                Some(cause) => {
                    Err(Failure::usage(error!("standard input can't be read as text: {cause}")))
                }
            }
        };
        self.prompt.iter().map(read).collect()
    }

    fn options(&self) -> Map {
        let mut options = Map::new();
        let mut set = |name: &str, value: Option<Dynamic>| {
            options.extend(value.map(|value| (name.into(), value)));
        };
        set("max_new_tokens", Some(i64::from(self.max_new_tokens).into()));
        set("temperature", self.temperature.map(Dynamic::from));
        set("top_k", self.top_k.map(|k| i64::from(k).into()));
        set("top_p", self.top_p.map(Dynamic::from));
        set("min_p", self.min_p.map(Dynamic::from));
        set("num_beams", self.num_beams.map(|beams| i64::from(beams).into()));
        set("repetition_penalty", self.repetition_penalty.map(Dynamic::from));
        set("seed", self.seed.map(Dynamic::from));
        set(
            "stop",
            Some(
                self.stop.iter().map(|stop| Dynamic::from(stop.clone())).collect::<Array>().into(),
            ),
        );
        set("ignore_eos", Some(self.ignore_eos.into()));
        set("beyond", Some(self.beyond.into()));
        set("cache", Some((!self.no_cache).into()));
        options
    }
}
