//! What a change of one head's or the MLP's copy of the residual stream moves, in every family.

use candle_core::{D, DType, Device, Tensor};
use precompute::hook::{Capture, GradientCapture, Hooks, Layers, Observer, Point, Site, SiteSet};
use precompute::model::spec::NormPlace;
use precompute::model::{Cache, Decoder, Input, Options, Output};

use crate::fixture::{CASES, Fixture, Subject, clipped, difference, subjects};

/// Float32 sums taken in another order.
const TOLERANCE: f32 = 2e-5;

/// The points of the copies, each with what is made of it.
const READERS: [(Point, Point, Point); 3] = [
    (Point::QueryInput, Point::PreQueryStates, Point::QueryStates),
    (Point::KeyInput, Point::PreKeyStates, Point::KeyStates),
    (Point::ValueInput, Point::ValueStates, Point::ValueStates),
];

/// What a head's projection gives, in this family.
fn made(decoder: &Decoder, before: Point, after: Point) -> Point {
    if decoder.spec().has(before) { before } else { after }
}

fn most(x: &Tensor) -> f32 {
    x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

fn close(name: &str, what: &str, got: &Tensor, expected: &Tensor) {
    let off = difference(got, expected) / most(expected).max(1.0);
    assert!(off <= TOLERANCE, "{name}: {what} is off by {off}");
}

/// Changes by hooks, with captures after them.
struct Both<'a>(Hooks<'a>, Capture);

impl Observer for Both<'_> {
    fn sites(&mut self, layers: usize) -> precompute::Result<SiteSet> {
        let mut sites = self.0.sites(layers)?;
        sites.union(&self.1.sites(layers)?);
        Ok(sites)
    }

    fn observe(&mut self, site: Site, x: &Tensor) -> precompute::Result<Option<Tensor>> {
        let left = self.0.observe(site, x)?;
        self.1.observe(site, left.as_ref().unwrap_or(x))?;
        Ok(left)
    }
}

/// What a hook makes of the tensor at its point.
type Change<'a> = &'a dyn Fn(&Tensor) -> Tensor;

/// What stands at `point` in layer 1 when each of `changes` is made there.
fn seen(subject: &Subject, point: Point, changes: &[(Point, Change)]) -> Tensor {
    let mut hooks = Hooks::new();
    for (at, change) in changes {
        hooks.bind(at.name(), Layers::one(1), |_, x| Ok(Some(change(x)))).unwrap();
    }
    let mut both = Both(hooks, Capture::new([(point, Layers::one(1))]));
    subject.decoder.forward(&subject.input, &Options::default(), &mut both).unwrap();
    both.1.get(point, Some(1)).unwrap().clone()
}

/// Something that differs from token to token, of the last dim's size.
fn pattern(x: &Tensor) -> Tensor {
    let dims = x.dims();
    let (n, d) = (dims[dims.len() - 2], dims[dims.len() - 1]);
    let numbers: Vec<f32> = (0..n * d).map(|i| ((i * 37 + 11) % 23) as f32 / 23.0 - 0.4).collect();
    Tensor::from_vec(numbers, (n, d), &Device::Cpu).unwrap().broadcast_as(dims).unwrap()
}

/// x with `change` added to one head's copy.
fn in_head(x: &Tensor, head: usize, change: &Tensor) -> Tensor {
    let part = (x.narrow(1, head, 1).unwrap() + change.narrow(1, head, 1).unwrap()).unwrap();
    let (before, after) = (x.narrow(1, 0, head).unwrap(), x.dim(1).unwrap() - head - 1);
    let after = x.narrow(1, head + 1, after).unwrap();
    Tensor::cat(&[&before, &part, &after], 1).unwrap()
}

#[test]
fn one_heads_input_moves_what_that_head_makes_of_it_alone() {
    for subject in subjects() {
        let (decoder, name) = (&subject.decoder, subject.name.as_str());
        for (input, before, after) in READERS {
            let point = made(decoder, before, after);
            let plain = seen(&subject, point, &[]);
            let head = plain.dim(1).unwrap() - 1;
            let changed = seen(&subject, point, &[(input, &|x| in_head(x, head, &pattern(x)))]);
            if head > 0 {
                let others = |x: &Tensor| x.narrow(1, 0, head).unwrap();
                close(name, "another head", &others(&changed), &others(&plain));
            }
            // The head's part is its projection of the changed copy's norm.
            let x = seen(&subject, Point::PreBlock, &[]);
            let x = (&x + pattern(&x)).unwrap();
            let read = match decoder.spec().norm_place {
                NormPlace::Before | NormPlace::Both | NormPlace::Stream => {
                    decoder.attn_norm(1, &x).unwrap()
                }
                NormPlace::After | NormPlace::Outputs => x,
            };
            let heads = decoder.heads(1).unwrap();
            let (w, b) = match input {
                Point::QueryInput => (heads.w_q, heads.b_q),
                Point::KeyInput => (heads.w_k, heads.b_k),
                _ => (heads.w_v, heads.b_v),
            };
            let own = read
                .broadcast_matmul(&w.get(head).unwrap().contiguous().unwrap())
                .unwrap()
                .broadcast_add(&b.get(head).unwrap())
                .unwrap();
            let own = clipped(own, decoder.spec());
            let got = changed.narrow(1, head, 1).unwrap().squeeze(1).unwrap();
            close(name, input.name(), &got, &own);
            assert!(difference(&changed, &plain) > 1e-2, "{name}: {input} moves nothing");
            for (other, before, after) in READERS.into_iter().filter(|other| other.0 != input) {
                let point = made(decoder, before, after);
                let moved = seen(&subject, point, &[(input, &|x| in_head(x, head, &pattern(x)))]);
                let what = format!("what {other} is for, with {input} changed");
                assert_eq!(difference(&moved, &seen(&subject, point, &[])), 0.0, "{name}: {what}");
            }
        }
    }
}

/// With a scale of a hook's own the norm is affine: twice what it makes of x is what it makes of x + d
/// and of x − d.
#[test]
fn a_scale_that_a_hook_leaves_divides_every_copy() {
    for subject in subjects() {
        let (decoder, name) = (&subject.decoder, subject.name.as_str());
        let is_normed = matches!(decoder.spec().norm_place, NormPlace::Before | NormPlace::Both);
        if !is_normed || decoder.spec().qkv_clip.is_some() {
            continue;
        }
        for (input, before, after) in READERS {
            let point = made(decoder, before, after);
            let of = |held: bool, by: f64| {
                let add = move |x: &Tensor| (x + (pattern(x) * by).unwrap()).unwrap();
                let hold = |x: &Tensor| (x * 1.25).unwrap();
                match held {
                    true => seen(&subject, point, &[(Point::AttnNormScale, &hold), (input, &add)]),
                    false => seen(&subject, point, &[(input, &add)]),
                }
            };
            let off = |held: bool| {
                let ends = (of(held, 1.0) + of(held, -1.0)).unwrap();
                let middle = (of(held, 0.0) * 2.0).unwrap();
                difference(&ends, &middle) / most(&middle)
            };
            assert!(off(true) <= TOLERANCE, "{name}: {input} is off by {}", off(true));
            assert!(off(false) > 1e-3, "{name}: the norm of {input} is affine by itself");
        }
    }
}

#[test]
fn changes_of_what_all_heads_read_and_of_one_heads_copy_add_up() {
    for subject in subjects() {
        let (decoder, name) = (&subject.decoder, subject.name.as_str());
        for (input, before, after) in READERS {
            let point = made(decoder, before, after);
            let all = |x: &Tensor| (x * 0.5).unwrap();
            let one = |x: &Tensor| in_head(x, 0, &pattern(x));
            let plain = seen(&subject, point, &[]);
            let by_all = seen(&subject, point, &[(Point::PreAttn, &all)]);
            let by_one = seen(&subject, point, &[(input, &one)]);
            let by_both = seen(&subject, point, &[(Point::PreAttn, &all), (input, &one)]);
            let sum = ((by_all + by_one).unwrap() - plain).unwrap();
            // What is clipped is not affine.
            if decoder.spec().qkv_clip.is_none() {
                close(name, input.name(), &by_both, &sum);
            }
        }
    }
}

#[test]
fn the_mlps_input_moves_what_the_mlp_reads_and_not_the_stream() {
    for subject in subjects() {
        let (decoder, name) = (&subject.decoder, subject.name.as_str());
        let add = |x: &Tensor| (x + pattern(x)).unwrap();
        let changed = |point| seen(&subject, point, &[(Point::MlpInput, &add)]);
        let stream = add(&seen(&subject, Point::MlpInput, &[]));
        let read = match decoder.spec().norm_place {
            NormPlace::Before | NormPlace::Both | NormPlace::Stream => {
                decoder.mlp_norm(1, &stream).unwrap()
            }
            NormPlace::After | NormPlace::Outputs => stream,
        };
        close(name, "pre-mlp", &changed(Point::PreMlp), &read);
        let mid = (changed(Point::PostMlp) - changed(Point::MlpResidual)).unwrap();
        let plain = |point| seen(&subject, point, &[]);
        let unmoved = (plain(Point::PostMlp) - plain(Point::MlpResidual)).unwrap();
        close(name, "the stream", &mid, &unmoved);
        assert!(difference(&changed(Point::PostMlp), &plain(Point::PostMlp)) > 1e-2, "{name}");
    }
}

/// A hook at every point of these, that means the same for each token in every pass.
fn everywhere(decoder: &Decoder) -> Hooks<'static> {
    let mut hooks = Hooks::new();
    for point in crate::fixture::INPUTS.into_iter().filter(|point| decoder.spec().has(*point)) {
        let change = |_, x: &Tensor| {
            let last = x.dim(D::Minus1)? as u32;
            let order = Tensor::from_iter((0..last).rev(), &Device::Cpu)?;
            let turned = x.contiguous()?.index_select(&order, x.rank() - 1)?;
            Ok(Some(((x * 0.75)? + (turned * 0.25)?)?))
        };
        hooks.bind(point.name(), Layers::All, change).unwrap();
    }
    hooks
}

#[test]
fn with_a_cache_the_new_tokens_alone_are_there() {
    for subject in subjects() {
        let decoder = &subject.decoder;
        let options = Options::default();
        let pass = |output: Output| output.logits.unwrap();
        let whole =
            pass(decoder.forward(&subject.input, &options, &mut everywhere(decoder)).unwrap());
        let ids = subject.input.ids(&Device::Cpu).unwrap();
        let n = ids.dim(1).unwrap();
        let mut cache = Cache::new(decoder.spec().layers, n);
        let steps = [5, 6, n].map(|end| {
            let input = Input::new(&ids.narrow(1, 0, end).unwrap(), None).unwrap();
            let mut hooks = everywhere(decoder);
            pass(decoder.extend(&input, &mut cache, &options, &mut hooks).unwrap())
        });
        close(&subject.name, "logits", &Tensor::cat(&steps, 1).unwrap(), &whole);
    }
}

#[test]
fn padding_makes_no_difference() {
    for case in CASES {
        let fixture = Fixture::load(case);
        let decoder = &fixture.decoder;
        let logits = |input: &Input| {
            let options = Options::default();
            decoder.forward(input, &options, &mut everywhere(decoder)).unwrap().logits.unwrap()
        };
        let short = fixture.golden("ids").narrow(0, 1, 1).unwrap().narrow(1, 0, 9).unwrap();
        let alone = logits(&Input::new(&short, None).unwrap());
        for (side, start) in [("left", 3), ("right", 0)] {
            let golden = |what: &str| fixture.golden(&format!("padded_{side}/{what}"));
            let padded = logits(&Input::new(golden("ids"), Some(golden("mask"))).unwrap());
            let real = padded.narrow(0, 1, 1).unwrap().narrow(1, start, 9).unwrap();
            close(case, side, &real, &alone);
        }
    }
}

/// The stream's gradient is that of all who read it.
#[test]
fn the_readers_gradients_sum_to_the_streams() {
    for subject in subjects() {
        let decoder = &subject.decoder;
        let spec = decoder.spec();
        if spec.norm_place == NormPlace::After {
            continue;
        }
        let points = [
            Point::PreBlock,
            Point::QueryInput,
            Point::KeyInput,
            Point::ValueInput,
            Point::PostAttn,
            Point::MlpInput,
        ];
        let mut watch = GradientCapture::new(points.map(|point| (point, Layers::All)));
        let options = Options { loss: true, gradients: true, ..Options::default() };
        let output = decoder.forward(&subject.input, &options, &mut watch).unwrap();
        let variables = output.loss.unwrap().backward().unwrap();
        let recorded = watch.by_site(watch.take(&variables));
        for layer in 0..spec.layers {
            let at = |point| recorded.get(Site { point, layer: Some(layer) }).unwrap().clone();
            let mut sum = at(Point::PostAttn);
            for (input, ..) in READERS {
                sum = (sum + at(input).sum(1).unwrap()).unwrap();
            }
            if spec.parallel {
                sum = (sum + at(Point::MlpInput)).unwrap();
            }
            let whole = at(Point::PreBlock);
            assert_eq!(whole.dtype(), DType::F32);
            let off = difference(&sum, &whole) / most(&whole);
            assert!(off <= TOLERANCE, "{}: layer {layer} is off by {off}", subject.name);
        }
    }
}
