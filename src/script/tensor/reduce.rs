//! `sum`, `mean`, `max`, `softmax`, `topk`, `histogram`, …: many elements to fewer, over dims.

use rhai::{Array, Dynamic, Engine, Token};

use super::arguments::{Call, define, derive, derive_anew};
use super::{Handle, Masks};
use crate::script::value::options;
use crate::script::value::record::Record;
use crate::tensor::Value;
use crate::tensor::index::gather;
use crate::tensor::order::sort;
use crate::tensor::order::unique::{Unique, unique};
use crate::tensor::reduce::over::Over;
use crate::tensor::reduce::{count, extremes, histogram, softmax, statistics, sums};
use crate::{Result, bail, error};

const OVER: &[&str] = &["dim", "keepdim"];

pub fn install(engine: &mut Engine) {
    release_var(engine);
    install_reductions(engine);
    install_spreads(engine);
    install_along(engine);
    install_orders(engine);
    install_unique(engine);
}

fn release_var(engine: &mut Engine) {
    // Marked deprecated only to say that Rhai may change it.
    #[allow(deprecated)]
    engine.on_parse_token(|token, _, _| var(token));
}

/// Rhai reserves the word `var` and does nothing with it; here it names the variance.
pub fn var(token: Token) -> Token {
    match token {
        Token::Reserved(word) if *word == "var" => Token::Identifier(word),
        token => token,
    }
}

fn install_reductions(engine: &mut Engine) {
    type Reduce = fn(&Value, Over) -> Result<Value>;
    let reductions = [
        ("sum", sums::sum as Reduce),
        ("mean", sums::mean),
        ("prod", sums::prod),
        ("max", extremes::max),
        ("min", extremes::min),
        ("argmax", extremes::argmax),
        ("argmin", extremes::argmin),
        ("any", count::any),
        ("all", count::all),
        ("count_nonzero", count::count_nonzero),
        ("logsumexp", sums::logsumexp),
        ("median", statistics::median),
    ];
    for (name, run) in reductions {
        define::<Handle, Handle>(engine, name, 1..=2, OVER, move |call| over(call, 1, run));
    }
}

fn install_spreads(engine: &mut Engine) {
    type Spread = fn(&Value, f64, Over) -> Result<Value>;
    for (name, run) in [("var", statistics::var as Spread), ("std", statistics::std)] {
        const OPTIONS: &[&str] = &["dim", "keepdim", "unbiased", "correction"];
        define::<Handle, Handle>(engine, name, 1..=2, OPTIONS, move |call| {
            let correction =
                match (call.options().bool("unbiased")?, call.options().float("correction")?) {
                    (Some(_), Some(_)) => bail!("{name}: give unbiased or correction, not both"),
                    (Some(unbiased), None) => f64::from(u8::from(unbiased)),
                    (None, correction) => correction.unwrap_or(1.0),
                };
            over(call, 1, |x, over| run(x, correction, over))
        });
    }
    define::<Handle, Handle>(engine, "norm", 1..=2, &["dim", "keepdim", "p"], |call| {
        let p = call.options().float("p")?.unwrap_or(2.0);
        over(call, 1, |x, over| sums::norm(x, p, over))
    });
    define::<Handle, Handle>(engine, "quantile", 1..=3, &["q", "dim", "keepdim"], |call| {
        let q =
            call.get(1, "q").ok_or_else(|| error!("quantile needs q, as in x.quantile(0.5)"))?;
        let (qs, stacked) = shares(&q)?;
        over(call, 2, |x, over| statistics::quantile(x, &qs, stacked, over))
    });
    define::<Handle, Record>(engine, "histogram", 1..=2, &["bins", "min", "max"], |call| {
        let bins = call.int_or_absent(1, "bins")?.unwrap_or(10);
        let (min, max) = (call.options().float("min")?, call.options().float("max")?);
        pair(call, ["counts", "edges"], |x| histogram::histogram(x, bins, min, max))
    });
}

fn install_along(engine: &mut Engine) {
    type Along = fn(&Value, i64) -> Result<Value>;
    let along = [
        ("softmax", softmax::softmax as Along),
        ("log_softmax", softmax::log_softmax),
        ("cumsum", softmax::cumsum),
    ];
    for (name, run) in along {
        define::<Handle, Handle>(engine, name, 1..=2, &["dim"], move |call| {
            let dim = call.int(1, "dim")?;
            derive_anew(&call.tensor(0, "a tensor")?, Masks::End, |x| run(x, dim))
        });
    }
}

fn install_orders(engine: &mut Engine) {
    define::<Handle, Record>(engine, "sort", 1..=2, &["dim", "descending"], |call| {
        let dim = call.int_or_absent(1, "dim")?.unwrap_or(-1);
        let descending = call.options().bool("descending")?.unwrap_or(false);
        ordered(call, dim, |x| sort::sort(x, dim, descending))
    });
    define::<Handle, Record>(engine, "topk", 1..=3, &["k", "dim", "largest"], |call| {
        let (k, dim) = (call.int(1, "k")?, call.int_or_absent(2, "dim")?.unwrap_or(-1));
        let largest = call.options().bool("largest")?.unwrap_or(true);
        ordered(call, dim, |x| sort::topk(x, k, dim, largest))
    });
}

/// Values alone, or with what the options ask for a map of them.
fn install_unique(engine: &mut Engine) {
    define::<Handle, Dynamic>(
        engine,
        "unique",
        1..=2,
        &["dim", "return_inverse", "return_counts"],
        |call| {
            let input = call.tensor(0, "a tensor")?;
            input.value().check_copy()?;
            let Unique { values, inverse, counts } =
                unique(&input.value(), call.int_or_absent(1, "dim")?)?;
            let asked =
                |option: &str| Ok::<_, crate::Error>(call.options().bool(option)?.unwrap_or(false));
            let values = Dynamic::from(Masks::Refuse.of_all(values, &[&input])?);
            let mut parts = Vec::new();
            for (asked, name, part) in [
                (asked("return_inverse")?, "inverse", inverse),
                (asked("return_counts")?, "counts", counts),
            ] {
                if asked {
                    parts.push((name, Dynamic::from(Masks::End.of_all(part, &[&input])?)));
                }
            }
            if parts.is_empty() {
                return Ok(values);
            }
            parts.push(("values", values));
            Ok(Dynamic::from(parts.into_iter().collect::<Record>()))
        },
    );
}

/// `run` over the dims given at `place` or as the option `dim`.
fn over(call: &Call, place: usize, run: impl Fn(&Value, Over) -> Result<Value>) -> Result<Handle> {
    let dims = call.ints_or_absent(place, "dim")?;
    let keepdim = call.options().bool("keepdim")?.unwrap_or(false);
    derive(&call.tensor(0, "a tensor")?, Masks::End, |x| {
        run(x, Over { dims: dims.as_deref(), keepdim })
    })
}

/// One share, or several in an array.
fn shares(q: &Dynamic) -> Result<(Vec<f64>, bool)> {
    let several = q
        .read_lock::<Array>()
        .map(|array| array.iter().map(options::float).collect::<Option<Vec<f64>>>());
    match (several, options::float(q)) {
        (Some(Some(qs)), _) => Ok((qs, true)),
        (None, Some(q)) => Ok((vec![q], false)),
        _ => bail!(
            "quantile: q must be a number or an array of numbers, not {}",
            options::describe(q)
        ),
    }
}

/// Counts and edges, of which neither is token ids.
fn pair(
    call: &Call,
    names: [&str; 2],
    run: impl Fn(&Value) -> Result<(Value, Value)>,
) -> Result<Record> {
    let input = call.tensor(0, "a tensor")?;
    input.value().check_copy()?;
    let (first, second) = run(&input.value())?;
    let handles =
        [first, second].map(|value| Masks::End.of_all(value, &[&input]).map(Dynamic::from));
    names.into_iter().zip(handles).map(|(name, handle)| Ok((name, handle?))).collect()
}

/// Elements in some order along `dim`, and where they come from.
fn ordered(
    call: &Call,
    dim: i64,
    run: impl Fn(&Value) -> Result<(Value, Value)>,
) -> Result<Record> {
    let input = call.tensor(0, "a tensor")?;
    input.value().check_copy()?;
    let (values, indices) = run(&input.value())?;
    let values = Masks::Follow.of(values, &input, |mask| gather::gather(mask, dim, &indices))?;
    let indices = Masks::End.of_all(indices, &[&input])?;
    Ok([("values", Dynamic::from(values)), ("indices", Dynamic::from(indices))]
        .into_iter()
        .collect())
}
