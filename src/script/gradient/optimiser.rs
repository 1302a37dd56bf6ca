//! Optimisers: `adam(vars, #{…})`, `adamw` and `sgd` move variables against the gradient of a loss.

mod state;

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use rhai::{Array, Dynamic, Map, NativeCallContext};

use crate::kernel::optimiser::{Kept, Rule, square_sum, step};
use crate::script::declare::{Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::script::hook::backward::{backward, differentiable, first_not_finite};
use crate::script::value::Handle;
use crate::script::value::options::{Options, describe, float};
use crate::script::value::record;
use crate::system::message::notice;
use crate::tensor::dtype::Kind;
use crate::{Result, bail, error};

/// An optimiser of a script. A clone is the same one.
#[derive(Clone)]
struct Optimiser(Rc<RefCell<State>>);

struct State {
    kind: Optimisers,
    lr: f64,
    /// Adam's.
    betas: [f64; 2],
    eps: f64,
    decay: f64,
    momentum: f64,
    /// The largest norm of all gradients together.
    clip: Option<f64>,
    steps: i32,
    variables: Vec<Moved>,
}

/// A variable that an optimiser moves.
struct Moved {
    /// What the script calls it, for messages.
    name: String,
    handle: Handle,
    variable: Var,
    kept: Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Optimisers {
    Adam,
    AdamW,
    Sgd,
}

impl Optimisers {
    fn name(self) -> &'static str {
        match self {
            Self::Adam => "adam",
            Self::AdamW => "adamw",
            Self::Sgd => "sgd",
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Adam => &["lr", "betas", "eps", "clip"],
            Self::AdamW => &["lr", "betas", "eps", "weight_decay", "clip"],
            Self::Sgd => &["lr", "momentum", "clip"],
        }
    }
}

/// Adds the variables in a value, which may be one, or an array or a map of any depth.
fn collect(call: &str, name: &str, value: &Dynamic, to: &mut Vec<Moved>) -> Result<()> {
    let within = |part: &str| match name.is_empty() {
        true => part.to_owned(),
        false => format!("{name}.{part}"),
    };
    if let Some(array) = value.read_lock::<Array>() {
        let mut each = array.iter().enumerate();
        return each.try_for_each(|(i, one)| collect(call, &within(&i.to_string()), one, to));
    }
    if let Some(map) = record::read(value) {
        return map.iter().try_for_each(|(key, one)| collect(call, &within(key), one, to));
    }
    let shown = if name.is_empty() { "it".to_owned() } else { format!("{name:?}") };
    let Some(handle) = value.read_lock::<Handle>() else {
        return Err(error!("{call} moves variables, and {shown} is {}", describe(value))
            .help("let v = variable(tensor); or m.trainable(pattern).variables"));
    };
    let tensor = handle.value().real(call)?.clone();
    if !tensor.is_variable() {
        return Err(error!(
            "{call} moves variables, and {shown} is {} that is none",
            describe(value)
        )
        .help("let v = variable(tensor); or m.trainable(pattern).variables"));
    }
    if !matches!(tensor.dtype(), DType::F32 | DType::F64) {
        let dtype = Kind::from_candle(tensor.dtype()).name();
        return Err(error!("{call}: {shown} is of {dtype}, in which small steps are lost")
            .help("make the variable of x.to(\"f32\")"));
    }
    if let Some(known) = to.iter().find(|known| known.variable.id() == tensor.id()) {
        return Err(error!("{call} got one variable twice, as {shown} and as {:?}", known.name)
            .help("an optimiser moves each variable once in a step"));
    }
    to.push(Moved {
        name: name.to_owned(),
        handle: handle.clone(),
        variable: Var::from_tensor(&tensor)?,
        kept: Kept::default(),
    });
    Ok(())
}

/// A number option within a range.
fn number(
    options: &Options,
    name: &str,
    default: f64,
    what: &str,
    fits: impl Fn(f64) -> bool,
) -> Result<f64> {
    let x = options.float(name)?.unwrap_or(default);
    match fits(x) {
        true => Ok(x),
        false => bail!("{name} must be {what}, not {x}"),
    }
}

/// A learning rate, read and assigned.
fn learning_rate(x: f64) -> Result<f64> {
    if x >= 0.0 && x.is_finite() {
        return Ok(x);
    }
    bail!("lr must be a number of at least 0, not {x}")
}

impl Optimiser {
    fn new(kind: Optimisers, variables: &Dynamic, options: Map) -> Result<Self> {
        let call = kind.name();
        let options = Options::new(call, options, kind.options())?;
        let at = |error: crate::Error| error.at(call);
        let unit = |x: f64| (0.0..1.0).contains(&x);
        let positive = |x: f64| x >= 0.0 && x.is_finite();
        let betas = match options.get("betas") {
            None => [0.9, 0.999],
            Some(given) => {
                let pair = given
                    .read_lock::<Array>()
                    .map(|array| array.iter().map(float).collect::<Vec<_>>());
                match pair.as_deref() {
                    Some(&[Some(b1), Some(b2)]) if unit(b1) && unit(b2) => [b1, b2],
                    _ => {
                        return Err(error!(
                            "{call}: betas must be two numbers of at least 0 and below 1, not {}",
                            describe(&given)
                        )
                        .help("as in #{betas: [0.9, 0.999]}"));
                    }
                }
            }
        };
        let mut state = State {
            kind,
            lr: learning_rate(options.float("lr")?.unwrap_or(1e-3)).map_err(at)?,
            betas,
            eps: number(&options, "eps", 1e-8, "above 0, in float32 too", |x| {
                x as f32 > 0.0 && x.is_finite()
            })
            .map_err(at)?,
            decay: match kind {
                Optimisers::AdamW => {
                    number(&options, "weight_decay", 1e-2, "a number of at least 0", positive)
                        .map_err(at)?
                }
                _ => 0.0,
            },
            momentum: number(&options, "momentum", 0.0, "at least 0 and below 1", unit)
                .map_err(at)?,
            clip: match options.get("clip") {
                None => None,
                Some(_) => Some(
                    number(&options, "clip", 1.0, "a number above 0", |x| x > 0.0).map_err(at)?,
                ),
            },
            steps: 0,
            variables: Vec::new(),
        };
        collect(call, "", variables, &mut state.variables)?;
        if state.variables.is_empty() {
            bail!("{call} got no variables to move");
        }
        Ok(Self(Rc::new(RefCell::new(state))))
    }

    /// Goes back from the loss and moves the variables. Gives the loss as a number.
    fn step(&self, call: &NativeCallContext, loss: &Dynamic) -> ScriptResult<f64> {
        let loss = differentiable(loss, "the loss")?;
        if loss.elem_count() != 1 {
            return Err(error!(
                "step goes back from a loss of one number, and not from {:?}",
                loss.dims()
            )
            .help("loss.mean() or loss.sum() makes it one")
            .into());
        }
        let value = number_in(&loss)?;
        if !value.is_finite() {
            return Err(error!("the loss is {value}, so no step can be taken")
                .help("check_finite: true among the options of the pass finds where it came from; a smaller lr may avoid it")
                .into());
        }
        let gradients = backward(call.engine(), &loss)?;
        let busy = || error!("this optimiser is in a step already");
        self.0.try_borrow_mut().map_err(|_| busy())?.apply(&loss, &gradients)?;
        Ok(value)
    }
}

fn number_in(loss: &Tensor) -> Result<f64> {
    Ok(loss.detach().to_dtype(DType::F64)?.flatten_all()?.get(0)?.to_scalar::<f64>()?)
}

impl State {
    fn apply(&mut self, loss: &Tensor, gradients: &GradStore) -> Result<()> {
        let mut squares = 0.0;
        let mut wrong = None;
        for moved in &self.variables {
            let Some(gradient) = gradients.get(&moved.variable) else {
                let (call, name) = (self.kind.name(), &moved.name);
                let which = if name.is_empty() {
                    "the variable".to_owned()
                } else {
                    format!("the variable {name:?}")
                };
                return Err(error!(
                    "the loss does not depend on {which} of {call}, so it has no gradient"
                )
                .help("give the optimiser only the variables that the loss is computed from"));
            };
            let sum = square_sum(gradient)?;
            if !sum.is_finite() && wrong.is_none() {
                wrong = Some((&moved.name, sum));
            }
            squares += sum;
        }
        if let Some((name, sum)) = wrong {
            let what = if sum.is_nan() { "NaN" } else { "an infinity" };
            let of = if name.is_empty() { String::new() } else { format!(" of {name:?}") };
            notice(format_args!(
                "warning: the gradient{of} has {what}{}: {} takes no step",
                first_not_finite(loss),
                self.kind.name()
            ));
            return Ok(());
        }
        // As torch.nn.utils.clip_grad_norm_ does it.
        let scale = self.clip.map_or(1.0, |most| (most / (squares.sqrt() + 1e-6)).min(1.0));
        self.steps += 1;
        let rule = match self.kind {
            Optimisers::Sgd => Rule::Sgd { lr: self.lr, momentum: self.momentum },
            Optimisers::Adam | Optimisers::AdamW => Rule::Adam {
                lr: self.lr,
                betas: self.betas,
                eps: self.eps,
                decay: self.decay,
                step: self.steps,
            },
        };
        for moved in &mut self.variables {
            if let Some(gradient) = gradients.get(&moved.variable) {
                step(&moved.variable, gradient, scale, &rule, &mut moved.kept)?;
                moved.handle.was_moved();
            }
        }
        Ok(())
    }
}

/// Registers the optimisers.
pub fn install(registry: &mut Registry) {
    registry.type_name::<Optimiser>("optimiser");
    const MAKES: Purity = Purity::Impure("makes an optimiser");
    registry
        .declare("adam(vars, #{lr, betas, eps, clip})", MAKES, OnGpu::NATIVE, Gradient::NoTensors)
        .row(
            "an optimiser (Kingma & Ba 2015) of a variable, or of an array or a map of them; \
            PyTorch's defaults: #{lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8}; clip: the largest norm \
            of all gradients together",
            "let t = m.trainable(\"*.fc2.*\"); adam(t.variables, #{lr: 0.01, clip: 1.0}).lr",
            "0.01",
        )
        .function(|vars: Dynamic| -> ScriptResult<Optimiser> {
            Ok(Optimiser::new(Optimisers::Adam, &vars, Map::new())?)
        })
        .function(|vars: Dynamic, options: Map| -> ScriptResult<Optimiser> {
            Ok(Optimiser::new(Optimisers::Adam, &vars, options)?)
        });
    registry
        .declare(
            "adamw(vars, #{lr, betas, eps, weight_decay, clip})",
            MAKES,
            OnGpu::NATIVE,
            Gradient::NoTensors,
        )
        .row(
            "likewise, with weight decay apart from the gradient (Loshchilov & Hutter 2019), \
            weight_decay: 0.01",
            "let t = m.trainable(\"*.fc2.*\"); let o = adamw(t.variables); \
            let loss = || t.model.forward(ids, #{loss: true}).loss; \
            let first = o.step(loss.call()); o.step(loss.call()) < first",
            "true",
        )
        .function(|vars: Dynamic| -> ScriptResult<Optimiser> {
            Ok(Optimiser::new(Optimisers::AdamW, &vars, Map::new())?)
        })
        .function(|vars: Dynamic, options: Map| -> ScriptResult<Optimiser> {
            Ok(Optimiser::new(Optimisers::AdamW, &vars, options)?)
        });
    registry
        .declare("sgd(vars, #{lr, momentum, clip})", MAKES, OnGpu::NATIVE, Gradient::NoTensors)
        .row(
            "gradient descent, with #{lr: 1e-3, momentum: 0}",
            "sgd(m.trainable(\"*.fc2.*\").variables, #{lr: 0.1, momentum: 0.9}).lr",
            "0.1",
        )
        .function(|vars: Dynamic| -> ScriptResult<Optimiser> {
            Ok(Optimiser::new(Optimisers::Sgd, &vars, Map::new())?)
        })
        .function(|vars: Dynamic, options: Map| -> ScriptResult<Optimiser> {
            Ok(Optimiser::new(Optimisers::Sgd, &vars, options)?)
        });
    registry
        .declare("step(o, loss)", Purity::Impure("moves variables"), OnGpu::NATIVE, Gradient::Outside)
        .row(
            "goes back from a loss of one number, moves the optimiser's variables in place, gives \
            the loss as a number. A gradient that is not finite is a warning, and the step is not \
            taken",
            "let t = m.trainable(\"*.fc2.*\"); let o = sgd(t.variables); \
            o.step(t.model.forward(ids, #{loss: true}).loss) == m.forward(ids, #{loss: true}).loss.item()",
            "true",
        )
        .function(|call: NativeCallContext, o: Optimiser, loss: Dynamic| -> ScriptResult<f64> { o.step(&call, &loss) });
    registry
        .declare(
            ".lr",
            Purity::Impure("reads an optimiser"),
            OnGpu::NO_TENSORS,
            Gradient::NoTensors,
        )
        .row(
            "of an optimiser: the learning rate, which may be assigned; `lib/train` has schedules",
            "let o = sgd(m.trainable(\"*.fc2.*\").variables); o.lr = 0.5; o.lr",
            "0.5",
        )
        .get(|o: &mut Optimiser| o.0.borrow().lr)
        .set(|o: &mut Optimiser, lr: Dynamic| -> ScriptResult<()> {
            let given =
                float(&lr).ok_or_else(|| error!("lr must be a number, not {}", describe(&lr)))?;
            o.0.borrow_mut().lr = learning_rate(given)?;
            Ok(())
        });
    state::install(registry);
    registry.declare("to_string(x)", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors).shown(
        |o: &mut Optimiser| {
            let state = o.0.borrow();
            let (count, steps) = (state.variables.len(), state.steps);
            format!(
                "{} of {count} variables, {steps} steps taken, lr {}",
                state.kind.name(),
                state.lr
            )
        },
    );
}
