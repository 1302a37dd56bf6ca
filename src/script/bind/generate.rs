//! `m.generate`: continues a text token by token, calling the context's hooks at every step.

use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use rhai::{Array, Dynamic, Map, NativeCallContext};

use super::non_finite;
use super::pass::{Depth, Pass};
use super::tokens::to_read;
use crate::checkpoint::Tokenizer;
use crate::hook::{SiteSet, Unobserved};
use crate::model::{Generation, GenerationConfig, Input, Sampling};
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::hook::context::Context;
use crate::script::hook::{Hook, PassInfo};
use crate::script::run::console::Console;
use crate::script::run::random;
use crate::script::run::random::Random;
use crate::script::run::settings::Streaming;
use crate::script::value::Handle;
use crate::script::value::model::Model;
use crate::script::value::options::{Options, describe};
use crate::system::escape;
use crate::system::message::notice;
use crate::tensor::Value;
use crate::{Result, bail, error};

/// The default of TransformerLens.
const MAX_NEW_TOKENS: i64 = 10;

/// The output of `m.generate`.
#[derive(Clone)]
struct Generated(Rc<Completion>);

struct Completion {
    model: Model,
    /// \[b, n + new\]: the prompts and their continuations, with padding after a row that ended
    /// early.
    ids: Handle,
    /// The real tokens of each row.
    rows: Vec<Vec<u32>>,
}

impl Generated {
    /// The text of the only row, or an array of texts.
    fn text(&self) -> Result<Dynamic> {
        let tokenizer = self.0.model.loaded().checkpoint.tokenizer()?;
        let mut texts =
            self.0.rows.iter().map(|row| tokenizer.text(row)).collect::<Result<Vec<String>>>()?;
        Ok(match texts.len() {
            1 => texts.remove(0).into(),
            _ => texts.into_iter().map(Dynamic::from).collect::<Array>().into(),
        })
    }
}

/// What ends a row besides the checkpoint's end-of-text tokens.
#[derive(Default)]
struct Stops {
    strings: Vec<String>,
    tokens: Vec<u32>,
}

impl Stops {
    /// Reads the option `stop`: a string, a token id, or an array of them. A string that is a
    /// special token of the tokenizer counts as its id.
    fn read(value: Option<Dynamic>, m: &Model) -> Result<Self> {
        let mut stops = Self::default();
        let Some(value) = value else { return Ok(stops) };
        let several = value.read_lock::<Array>().map(|array| array.clone());
        for stop in several.unwrap_or_else(|| vec![value.clone()]) {
            if let Ok(text) = stop.clone().into_string() {
                match m.loaded().checkpoint.tokenizer()?.special_token(&text) {
                    _ if text.is_empty() => {
                        bail!("stop: an empty string would end every text at once")
                    }
                    Some(token) => stops.tokens.push(token),
                    None => stops.strings.push(text),
                }
            } else if let Some(token) = stop.as_int().ok().and_then(|id| u32::try_from(id).ok()) {
                stops.tokens.push(token);
            } else {
                bail!(
                    "generate: stop must be a string, a token id or an array of them, not {}",
                    describe(&stop)
                );
            }
        }
        Ok(stops)
    }

    /// Whether a text contains a stop string that begins at the byte `first` or later, and ends
    /// behind the byte `new`.
    fn reached(&self, text: &str, first: usize, new: usize) -> bool {
        self.strings.iter().any(|stop| {
            let mut from = new.saturating_sub(stop.len()).max(first).min(text.len());
            while !text.is_char_boundary(from) {
                from -= 1;
            }
            text[from..].contains(stop.as_str())
        })
    }
}

/// Shows a text as it grows.
struct Screen<'a> {
    streaming: Streaming,
    console: &'a Console,
    began: Instant,
}

impl<'a> Screen<'a> {
    fn new(asked: Streaming, console: &'a Console, rows: usize) -> Self {
        let streaming = match asked {
            Streaming::Terminal if !std::io::stderr().is_terminal() => Streaming::Nowhere,
            // Several texts can't grow in one place.
            _ if rows > 1 => Streaming::Nowhere,
            streaming => streaming,
        };
        Self { streaming, console, began: Instant::now() }
    }

    fn text(&self, text: &str) {
        match self.streaming {
            Streaming::Terminal => {
                let mut out = std::io::stderr();
                let _ =
                    write!(out, "{}", escape::control_characters(text)).and_then(|()| out.flush());
            }
            Streaming::Output => self.console.text(text),
            Streaming::Nowhere => {}
        }
    }

    fn end(&self, tokens: usize) {
        if self.streaming != Streaming::Nowhere {
            self.text("\n");
            let seconds = self.began.elapsed().as_secs_f64();
            notice(format_args!(
                "{tokens} tokens in {seconds:.2} s, {:.1} a second",
                tokens as f64 / seconds
            ));
        }
    }
}

/// One call of `m.generate`.
struct Call<'a> {
    pass: Pass<'a>,
    random: &'a Random,
    streaming: Streaming,
    console: &'a Console,
}

impl Call<'_> {
    fn run(
        &self,
        ids: &Handle,
        context: Option<&Context>,
        options: Map,
    ) -> ScriptResult<Generated> {
        let options = Options::new(
            "generate",
            options,
            &[
                "max_new_tokens",
                "temperature",
                "top_k",
                "top_p",
                "min_p",
                "num_beams",
                "repetition_penalty",
                "seed",
                "stop",
                "cache",
                "ignore_eos",
                "mask",
                "beyond",
                "check_finite",
            ],
        )?;
        let hooks = context.map(Context::hooks).unwrap_or_default();
        if let Some(hook) = hooks.iter().find(|hook| hook.is_backward()) {
            return Err(error!(
                "{} waits for a gradient, and generate never goes back",
                hook.describe()
            )
            .help("run it in m.gradients, or in a pass of which a loss goes back")
            .into());
        }
        let _nested = self.pass.enter()?;
        let m = self.pass.model;
        let stops = Stops::read(options.get("stop"), m)?;
        let plan = self.plan(&options, &stops)?;
        let input = self.pass.input(ids, options.tensor("mask")?.as_ref(), plan.beyond)?;
        let rows = input.batch();
        if plan.beams > 1 && !stops.strings.is_empty() {
            return Err(error!(
                "num_beams can't look for {:?} in what it finds: only a token ends a beam",
                stops.strings[0]
            )
            .help("stop takes the id of a token, as in #{stop: m.token_id(\".\")}")
            .into());
        }
        let screen = Screen::new(self.streaming, self.console, rows * plan.beams);
        let tokenizer = match stops.strings.is_empty() && screen.streaming == Streaming::Nowhere {
            true => None,
            false => Some(m.loaded().checkpoint.tokenizer()?),
        };
        let every = options.bool("check_finite")?.unwrap_or(m.loaded().check_finite);
        // Gradients don't reach through tokens, and a graph of all steps would not end.
        let decoder = m.loaded().decoder.detached()?;
        let prompts: Vec<_> = (0..rows).map(|row| real(&input, row)).collect();
        let mut generation = Generation::new(&decoder, input, plan)?;
        if every {
            generation = generation.check_finite();
        }
        // A continuation's text depends on the prompt's.
        let mut texts = Vec::new();
        if let Some(tokenizer) = tokenizer {
            for prompt in prompts {
                let mut text = tokenizer.stream();
                let prompt = text.push(&prompt)?;
                if screen.streaming == Streaming::Output {
                    screen.text(prompt);
                }
                texts.push((text.text().len(), text));
            }
        }
        let _serving = context.map(|context| self.pass.serve(context)).transpose()?;
        while !generation.is_done() {
            let drawn = self.step(&mut generation, context, every)?;
            for (row, (prompt, text)) in texts.iter_mut().enumerate() {
                let Some(token) = drawn[row] else { continue };
                let before = text.settled();
                screen.text(text.push(&[token])?);
                if stops.reached(text.text(), *prompt, before) {
                    generation.end(row);
                }
            }
        }
        if let Some((_, text)) = texts.first_mut() {
            screen.text(text.finish());
        }
        screen.end(generation.step());
        Ok(Generated(Rc::new(self.generated(&generation)?)))
    }

    /// Runs one pass and draws the next tokens, with the context describing the tokens that the
    /// pass reads. Returns the token drawn for each row that has not ended.
    fn step(
        &self,
        generation: &mut Generation,
        context: Option<&Context>,
        every: bool,
    ) -> ScriptResult<Vec<Option<u32>>> {
        let known = generation.not_finite().is_some();
        let said = |generation: &Generation, hooks: &[(Hook, SiteSet)]| {
            if let Some(found) = generation.not_finite().filter(|_| !known) {
                non_finite::warn(&found, hooks, every);
            }
        };
        let Some(context) = context else {
            let drawn = generation.advance(&mut Unobserved);
            said(generation, &[]);
            return Ok(drawn?);
        };
        self.pass.reload();
        let reads = generation.reads();
        let ids = Handle::from(
            reads.ids(&Device::Cpu)?.to_dtype(DType::I64).map_err(crate::Error::from)?,
        );
        let ids = ids.with_mask(Handle::fresh(Value::Bool(reads.mask(&Device::Cpu)?)));
        let all = generation.input();
        let prompt = all.attended() - generation.step();
        self.pass.show(context, [ids, self.ids(all)?], &reads, prompt)?;
        context.set_reserved("step", (generation.step() as i64).into());
        let steps = generation.config().max_new_tokens;
        let options = generation.options();
        let mut script =
            self.pass.hooks(context, PassInfo { options: &options, input: &reads, prompt, steps });
        let drawn = generation.advance(&mut script);
        said(generation, &script.bound());
        drawn.map_err(|error| script.failure(error, self.pass.call))
    }

    /// Reads the options of the generation.
    fn plan(&self, options: &Options, stops: &Stops) -> Result<GenerationConfig> {
        let checkpoint = &self.pass.model.loaded().checkpoint;
        let whole = |name: &str| -> Result<Option<usize>> {
            let wrong = |n: i64| error!("generate: {name} must be at least 1, not {n}");
            options.int(name)?.map(|n| usize::try_from(n).map_err(|_| wrong(n))).transpose()
        };
        let mut ends = stops.tokens.clone();
        if !options.bool("ignore_eos")?.unwrap_or(false) {
            ends.extend(checkpoint.eos_token_ids());
        }
        let seed =
            options.int("seed")?.map(random::seed).transpose().map_err(|e| e.at("generate"))?;
        let sampling = Sampling {
            temperature: options.float("temperature")?,
            top_k: whole("top_k")?,
            top_p: options.float("top_p")?,
            min_p: options.float("min_p")?,
            repetition_penalty: options.float("repetition_penalty")?,
            seed: seed.unwrap_or_else(|| self.random.next()),
        };
        Ok(GenerationConfig {
            max_new_tokens: whole("max_new_tokens")?.unwrap_or(MAX_NEW_TOKENS as usize),
            sampling,
            beams: whole("num_beams")?.unwrap_or(1),
            ends,
            pad: checkpoint.tokenizer().map(Tokenizer::pad_id).unwrap_or(0),
            cache: options.bool("cache")?.unwrap_or(true),
            beyond: options.bool("beyond")?.unwrap_or(false),
        })
    }

    /// All tokens of each row, with the mask of the real ones.
    fn ids(&self, input: &Input) -> Result<Handle> {
        let ids: Vec<&[u32]> = (0..input.batch()).map(|row| input.row(row)).collect();
        let ids = Handle::from(Tensor::new(ids, &Device::Cpu)?.to_dtype(DType::I64)?);
        Ok(ids.with_mask(Handle::fresh(Value::Bool(input.mask(&Device::Cpu)?))))
    }

    /// The output of a generation that is done.
    fn generated(&self, generation: &Generation) -> Result<Completion> {
        let input = generation.result();
        let rows: Vec<Vec<u32>> = (0..input.batch()).map(|row| real(&input, row)).collect();
        let ids = self.ids(&input)?;
        Ok(Completion { model: self.pass.model.clone(), ids, rows })
    }
}

/// The tokens of a row without padding.
fn real(input: &Input, row: usize) -> Vec<u32> {
    let real = input.row(row).iter().zip(input.real(row)).filter(|(_, real)| **real);
    real.map(|(id, _)| *id).collect()
}

/// Registers `generate`, with context and options left out or not, and what it gives.
pub fn install(
    registry: &mut Registry,
    depth: &Depth,
    random: &Random,
    streaming: Streaming,
    console: &Console,
) {
    macro_rules! generate {
        (|$call:ident, $ids:ident $(, $arg:ident: $typ:ty)*| $body:expr) => {{
            let (depth, random, console) = (depth.clone(), random.clone(), console.clone());
            move |call: NativeCallContext, m: Model, $ids: Dynamic $(, $arg: $typ)*| {
                let $ids = to_read(&m, "generate", &$ids)?;
                let pass = Pass { call: &call, depth: &depth, model: &m };
                let $call = Call { pass, random: &random, streaming, console: &console };
                $body
            }
        }};
    }
    let context = |hooks: Array| Context::of("generate", hooks);
    registry
        .declare(
            "generate(model, ids, ctx, options)",
            Purity::Impure("runs a pass"),
            OnGpu::NO_TENSORS,
            Gradient::Outside,
        )
        .row(
            "the ids continued token by token, hooks alive at every step: (ids or texts, \
            context, #{max_new_tokens, temperature, top_k, top_p, min_p, num_beams, \
            repetition_penalty, seed, stop, cache, ignore_eos})",
            "m.generate(ids, #{max_new_tokens: 2}).ids.shape[1] - ids.shape[1]",
            "2",
        )
        .function(generate!(|call, ids| call.run(&ids, None, Map::new())))
        .function(generate!(|call, ids, options: Map| call.run(&ids, None, options)))
        .function(generate!(|call, ids, ctx: Context| call.run(&ids, Some(&ctx), Map::new())))
        .function(generate!(|call, ids, ctx: Context, options: Map| call.run(
            &ids,
            Some(&ctx),
            options
        )))
        .function(generate!(|call, ids, hooks: Array| call.run(
            &ids,
            Some(&context(hooks)?),
            Map::new()
        )))
        .function(generate!(|call, ids, hooks: Array, options: Map| call.run(
            &ids,
            Some(&context(hooks)?),
            options
        )));
    registry.type_name::<Generated>("generated");
    registry
        .declare(".ids", Purity::Pure, OnGpu::NO_TENSORS, Gradient::Outside)
        .row(
            "of what was generated: the ids of the prompt and of what follows it, with their mask",
            "m.generate(ids, #{max_new_tokens: 1}).ids.rank",
            "2",
        )
        .get(|g: &mut Generated| g.0.ids.clone());
    registry
        .declare(".text", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .row(
            "of what was generated: the prompt and what follows it",
            r#"m.generate(ids, #{max_new_tokens: 1}).text.contains("Mary and John")"#,
            "true",
        )
        .get(|g: &mut Generated| -> ScriptResult<Dynamic> { Ok(g.text()?) });
    let show = |g: &mut Generated| format!("generated ids {:?}", g.0.ids.value().dims());
    registry
        .declare("to_string(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .shown(show);
}
