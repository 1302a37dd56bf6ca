//! `sum`, `mean`, `max`, `topk`, `histogram`, …: reductions, and functions of the order of elements.

use rhai::{Array, Dynamic, Engine, Token};

use super::arguments::{Call, derive};
use super::{Handle, Masks, along_dim};
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::script::value::options;
use crate::script::value::record::Record;
use crate::tensor::Value;
use crate::tensor::index::gather;
use crate::tensor::order::sort;
use crate::tensor::order::unique::{Unique, unique};
use crate::tensor::reduce::over::Over;
use crate::tensor::reduce::{count, extremes, histogram, statistics, sums};
use crate::{Result, bail, error};

/// Registers the reductions.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Reductions");
    install_reductions(registry);
    along_dim::install(registry);
    install_orders(registry);
    install_unique(registry);
}

/// Configures an engine to read `var` as a name.
pub fn configure(engine: &mut Engine) {
    #[allow(deprecated)] // Rhai's word for "may change in the future".
    engine.on_parse_token(|token, _, _| var(token));
}

/// Turns the word `var`, which Rhai reserves without using it, into a name: that of the variance.
pub fn var(token: Token) -> Token {
    match token {
        Token::Reserved(word) if *word == "var" => Token::Identifier(word),
        token => token,
    }
}

fn install_reductions(registry: &mut Registry) {
    registry
        .declare("sum(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::FLOATS, Gradient::Yes)
        .row(
            "the sum; over all dims, one, or several",
            "tensor([[1, 2], [3, 4]]).sum(0)",
            "tensor [2] i64 cpu: [4, 6]",
        )
        .row_for(
            "over several dims",
            "any of them, also from the end",
            "ones(2, 3, 4, 5).sum([1, -1])",
            "tensor [2, 4] f32 cpu: [[15.0, 15.0, 15.0, 15.0], [15.0, 15.0, 15.0, 15.0]]",
        )
        .row_for(
            "with options",
            "the dims reduced may stay, with size 1",
            "ones(2, 3).sum(#{dim: 1, keepdim: true})",
            "tensor [2, 1] f32 cpu: [[3.0], [3.0]]",
        )
        .on_tensor(1..=2, |call| over(call, 1, sums::sum));
    registry
        .declare("mean(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "the mean; of integers an error: convert them first",
            "tensor([[1.0, 2.0], [3.0, 4.0]]).mean()",
            "tensor [] f32 cpu: 2.5",
        )
        .on_tensor(1..=2, |call| over(call, 1, sums::mean));
    registry
        .declare(
            "var(x, dim, #{dim, keepdim, unbiased, correction})",
            Purity::Pure,
            OnGpu::NATIVE,
            Gradient::Yes,
        )
        .row(
            "the variance, divided by one less than the count",
            "tensor([1.0, 2.0, 3.0, 4.0]).var()",
            "tensor [] f32 cpu: 1.6667",
        )
        .row_for(
            "with options",
            "divided by the count",
            "tensor([1.0, 2.0, 3.0, 4.0]).var(#{correction: 0})",
            "tensor [] f32 cpu: 1.25",
        )
        .on_tensor(1..=2, |call| spread(call, "var", statistics::var));
    registry
        .declare(
            "std(x, dim, #{dim, keepdim, unbiased, correction})",
            Purity::Pure,
            OnGpu::NATIVE,
            Gradient::Yes,
        )
        .row(
            "the standard deviation; #{unbiased: false} divides by the count",
            "tensor([[1.0, 3.0], [2.0, 8.0]]).std(1)",
            "tensor [2] f32 cpu: [1.4142, 4.2426]",
        )
        .on_tensor(1..=2, |call| spread(call, "std", statistics::std));
    registry
        .declare("min(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::FLOATS, Gradient::Yes)
        .row(
            "the smallest element, alone; NaN where one is",
            "tensor([[3, 1], [2, 5]]).min(1)",
            "tensor [2] i64 cpu: [1, 2]",
        )
        .on_tensor(1..=2, |call| over(call, 1, extremes::min));
    registry
        .declare("max(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::FLOATS, Gradient::Yes)
        .row("the largest", "tensor([[3, 1], [2, 5]]).max()", "tensor [] i64 cpu: 5")
        .on_tensor(1..=2, |call| over(call, 1, extremes::max));
    registry
        .declare("argmin(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::FLOATS, Gradient::Outside)
        .row(
            "where the smallest is",
            "tensor([[3, 1], [2, 5]]).argmin(-1)",
            "tensor [2] i64 cpu: [1, 0]",
        )
        .on_tensor(1..=2, |call| over(call, 1, extremes::argmin));
    registry
        .declare("argmax(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::FLOATS, Gradient::Outside)
        .row(
            "where the largest is; over no dim, its place in the flattened tensor",
            "tensor([[3, 1], [2, 5]]).argmax()",
            "tensor [] i64 cpu: 3",
        )
        .on_tensor(1..=2, |call| over(call, 1, extremes::argmax));
    registry
        .declare("norm(x, dim, #{dim, keepdim, p})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "root of the sum of the squares",
            "tensor([[3.0, 4.0], [6.0, 8.0]]).norm(1)",
            "tensor [2] f32 cpu: [5.0, 10.0]",
        )
        .row_for(
            "with options",
            "the p-norm",
            "tensor([[3.0, -4.0], [6.0, 8.0]]).norm(#{p: 1, dim: [0, 1]})",
            "tensor [] f32 cpu: 21.0",
        )
        .on_tensor(1..=2, |call| {
            let p = call.options().float("p")?.unwrap_or(2.0);
            over(call, 1, |x, over| sums::norm(x, p, over))
        });
    registry
        .declare("prod(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row("the product", "tensor([2, 3, 4]).prod()", "tensor [] i64 cpu: 24")
        .on_tensor(1..=2, |call| over(call, 1, sums::prod));
    registry
        .declare("any(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::NATIVE, Gradient::Outside)
        .row(
            "whether one is other than 0",
            "(arange(4).reshape(2, 2) > 1).any(1)",
            "tensor [2] bool cpu: [false, true]",
        )
        .on_tensor(1..=2, |call| over(call, 1, count::any));
    registry
        .declare("all(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::NATIVE, Gradient::Outside)
        .row("whether none is 0", "(arange(4) >= 0).all()", "tensor [] bool cpu: true")
        .on_tensor(1..=2, |call| over(call, 1, count::all));
    registry
        .declare("logsumexp(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "log of the sum of the exponentials",
            "tensor([1000.0, 1000.0]).logsumexp()",
            "tensor [] f32 cpu: 1000.7",
        )
        .on_tensor(1..=2, |call| over(call, 1, sums::logsumexp));
    registry
        .declare(
            "count_nonzero(x, dim, #{dim, keepdim})",
            Purity::Pure,
            OnGpu::NATIVE,
            Gradient::Outside,
        )
        .row(
            "how many are other than 0",
            "tensor([[0, 2], [3, 0]]).count_nonzero()",
            "tensor [] i64 cpu: 2",
        )
        .on_tensor(1..=2, |call| over(call, 1, count::count_nonzero));
    registry
        .declare(
            "quantile(x, q, dim, #{q, dim, keepdim})",
            Purity::Pure,
            OnGpu::VIA_CPU,
            Gradient::Yes,
        )
        .row(
            "what a share q does not exceed, in proportion between two: (q, dim)",
            "tensor([1.0, 2.0, 3.0, 4.0]).quantile(0.5)",
            "tensor [] f32 cpu: 2.5",
        )
        .row_for(
            "of several shares",
            "along a new first dim",
            "tensor([[1.0, 5.0], [3.0, 9.0]]).quantile([0.0, 0.5], 1)",
            "tensor [2, 2] f32 cpu: [[1.0, 3.0], [3.0, 6.0]]",
        )
        .on_tensor(1..=3, |call| {
            let q = call
                .get(1, "q")
                .ok_or_else(|| error!("quantile needs q, as in x.quantile(0.5)"))?;
            let (qs, stacked) = shares(&q)?;
            over(call, 2, |x, over| statistics::quantile(x, &qs, stacked, over))
        });
    registry
        .declare("median(x, dim, #{dim, keepdim})", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "the middle element; of an even number the lower of two",
            "tensor([4.0, 1.0, 3.0, 2.0]).median()",
            "tensor [] f32 cpu: 2.0",
        )
        .on_tensor(1..=2, |call| over(call, 1, statistics::median));
    registry
        .declare("histogram(x, #{bins, min, max})", Purity::Pure, OnGpu::VIA_CPU, Gradient::Outside)
        .row(
            "how many elements lie between each two edges: #{bins, min, max}",
            "let h = tensor([0.0, 0.1, 0.6, 1.0]).histogram(#{bins: 2, min: 0, max: 1}); \
            [h.counts, h.edges]",
            "[tensor [2] i64 cpu: [2, 2], tensor [3] f32 cpu: [0.0, 0.5, 1.0]]",
        )
        .on_tensor(1..=2, |call| {
            let bins = call.int_or_absent(1, "bins")?.unwrap_or(10);
            let (min, max) = (call.options().float("min")?, call.options().float("max")?);
            pair(call, ["counts", "edges"], |x| histogram::histogram(x, bins, min, max))
        });
}

fn install_orders(registry: &mut Registry) {
    registry
        .declare(
            "topk(x, k, #{k, dim, largest})",
            Purity::Pure,
            OnGpu("there, of floats up to k = 32; beyond on the CPU"),
            Gradient::Yes,
        )
        .row(
            "the k largest and where they are: (k, #{dim, largest})",
            "tensor([0.1, 0.7, 0.2]).topk(2).indices",
            "tensor [2] i64 cpu: [1, 2]",
        )
        .row_for(
            "with options",
            "the smallest",
            "tensor([0.1, 0.7, 0.2]).topk(1, #{dim: 0, largest: false}).values",
            "tensor [1] f32 cpu: [0.1]",
        )
        .on_tensor(1..=3, |call| {
            let (k, dim) = (call.int(1, "k")?, call.int_or_absent(2, "dim")?.unwrap_or(-1));
            let largest = call.options().bool("largest")?.unwrap_or(true);
            ordered(call, dim, |x| sort::topk(x, k, dim, largest))
        });
    registry
        .declare("sort(x, dim, #{dim, descending})", Purity::Pure, OnGpu::VIA_CPU, Gradient::Yes)
        .row(
            "the elements in order along a dim (the last), and where they come from",
            "let s = tensor([3, 1, 2]).sort(); [s.values, s.indices]",
            "[tensor [3] i64 cpu: [1, 2, 3], tensor [3] i64 cpu: [1, 2, 0]]",
        )
        .row_for(
            "with options",
            "from the largest down",
            "tensor([3, 1, 2]).sort(#{dim: 0, descending: true}).values",
            "tensor [3] i64 cpu: [3, 2, 1]",
        )
        .on_tensor(1..=2, |call| {
            let dim = call.int_or_absent(1, "dim")?.unwrap_or(-1);
            let descending = call.options().bool("descending")?.unwrap_or(false);
            ordered(call, dim, |x| sort::sort(x, dim, descending))
        });
}

/// Registers `unique`, which gives the values, or a map of them and of what the options ask for.
fn install_unique(registry: &mut Registry) {
    registry
        .declare(
            "unique(x, dim, #{dim, return_inverse, return_counts})",
            Purity::Pure,
            OnGpu::VIA_CPU,
            Gradient::None("its derivative is not defined, and PyTorch has none"),
        )
        .row(
            "the elements that differ, in order; along a dim the slices; #{dim, \
            return_inverse, return_counts}",
            "tensor([3, 1, 3]).unique()",
            "tensor [2] i64 cpu: [1, 3]",
        )
        .row_for(
            "with options",
            "a map with where each element is among the values, and how often each occurs",
            "let u = tensor([3, 1, 3]).unique(#{return_inverse: true, return_counts: \
            true}); [u.inverse, u.counts]",
            "[tensor [3] i64 cpu: [1, 0, 1], tensor [2] i64 cpu: [1, 2]]",
        )
        .on_tensor(1..=2, |call| {
            let input = call.tensor(0, "a tensor")?;
            input.value().check_copy()?;
            let Unique { values, inverse, counts } =
                unique(&input.value().detach(), call.int_or_absent(1, "dim")?)?;
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
        });
}

/// The variance or standard deviation, with the divisor that the options choose.
fn spread(call: &Call, name: &str, run: fn(&Value, f64, Over) -> Result<Value>) -> Result<Handle> {
    let correction = match (call.options().bool("unbiased")?, call.options().float("correction")?) {
        (Some(_), Some(_)) => bail!("{name}: give unbiased or correction, not both"),
        (Some(unbiased), None) => f64::from(u8::from(unbiased)),
        (None, correction) => correction.unwrap_or(1.0),
    };
    over(call, 1, |x, over| run(x, correction, over))
}

/// Applies `run` over the dims that are argument `place` or the option `dim`.
fn over(call: &Call, place: usize, run: impl Fn(&Value, Over) -> Result<Value>) -> Result<Handle> {
    let dims = call.ints_or_absent(place, "dim")?;
    let keepdim = call.options().bool("keepdim")?.unwrap_or(false);
    derive(&call.tensor(0, "a tensor")?, Masks::End, |x| {
        run(x, Over { dims: dims.as_deref(), keepdim })
    })
}

/// Reads the `q` of `quantile`: one number, or several in an array; and whether it is an array.
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

/// A record of two tensors, neither of which can be token ids.
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

/// A record of elements in some order along `dim`, and of the places they come from.
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
