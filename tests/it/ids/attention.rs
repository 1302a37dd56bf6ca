//! A pass's mask of attention: it takes away what a query may look at, and nothing else.

use candle_core::{DType, Device, Tensor};
use precompute::hook::{Hooks, Layers, Unobserved};
use precompute::model::{Cache, Input, Logits, Options};

use crate::fixture::{difference, subjects};
use crate::run::script;

fn prints(body: &str) -> String {
    script(&format!("let m = model(\"demo:opt\");\nlet ids = m.encode(\"When Mary and John went to the store\");\nlet n = ids.shape[1];\n{body}"), &[])
        .ok()
        .stdout()
}

fn fails(body: &str) -> String {
    let ran = script(
        &format!(
            "let m = model(\"demo:opt\");\nlet ids = m.encode([\"When Mary went\", \"When\"]);\n{body}"
        ),
        &[],
    );
    assert_eq!(ran.output.status.code(), Some(1), "{}", ran.stderr());
    ran.stderr()
}

/// Every family: what a mask hides is what setting its scores to the lowest number hides, whether
/// the scores are made or not.
#[test]
fn a_mask_of_attention_is_a_hook_on_the_scores() {
    for subject in subjects() {
        let (decoder, input) = (&subject.decoder, &subject.input);
        let (b, n) = (input.batch(), input.len());
        // Every third key before the query is hidden, from the second row on another third.
        let hidden =
            |row: usize, query: usize, key: usize| key < query && (key + row).is_multiple_of(3);
        let bits = |rows: usize| -> Tensor {
            let each = (0..rows).flat_map(|row| {
                (0..n).flat_map(move |q| (0..n).map(move |k| u8::from(!hidden(row, q, k))))
            });
            Tensor::from_vec(each.collect::<Vec<u8>>(), (rows, 1, n, n), &Device::Cpu).unwrap()
        };
        let ids = Tensor::new((0..b).map(|row| input.row(row)).collect::<Vec<_>>(), &Device::Cpu)
            .unwrap();
        for (mask, rows) in [(bits(b), b), (bits(1).reshape((n, n)).unwrap(), 1)] {
            let masked = Input::masked(&ids, None, Some(&mask)).unwrap();
            let quick = decoder.logits(&masked).unwrap();
            let mut hooks = Hooks::new();
            let shape = bits(rows);
            hooks
                .bind("post-mask-attn-weights", Layers::All, move |_, x| {
                    let lowest = (x.zeros_like()?.to_dtype(DType::F32)? + f64::from(f32::MIN))?;
                    Ok(Some(shape.broadcast_as(x.shape())?.where_cond(x, &lowest)?))
                })
                .unwrap();
            let options = Options { logits: Logits::All, ..Options::default() };
            let hooked = decoder.forward(input, &options, &mut hooks).unwrap().logits.unwrap();
            let slow = decoder.forward(&masked, &options, &mut Watch).unwrap().logits.unwrap();
            let (quick_off, slow_off) = (difference(&quick, &hooked), difference(&slow, &hooked));
            assert!(
                quick_off < 2e-5 && slow_off < 2e-5,
                "{}: off by {quick_off} and {slow_off}",
                subject.name
            );
            assert!(
                difference(&quick, &decoder.logits(input).unwrap()) > 1e-4,
                "{}: nothing was hidden",
                subject.name
            );
        }
    }
}

/// Looks at the pattern, so that scores are made.
struct Watch;

impl precompute::hook::Observer for Watch {
    fn sites(&mut self, layers: usize) -> precompute::Result<precompute::hook::SiteSet> {
        precompute::hook::Capture::new([(precompute::hook::Point::AttnProbs, Layers::All)])
            .sites(layers)
    }

    fn observe(
        &mut self,
        _: precompute::hook::Site,
        _: &Tensor,
    ) -> precompute::Result<Option<Tensor>> {
        Ok(None)
    }
}

#[test]
fn a_mask_of_attention_holds_with_a_cache() {
    for subject in subjects().into_iter().take(3) {
        let (decoder, input) = (&subject.decoder, &subject.input);
        let n = input.len();
        let ids = Tensor::new(
            (0..input.batch()).map(|row| input.row(row)).collect::<Vec<_>>(),
            &Device::Cpu,
        )
        .unwrap();
        let mask = Tensor::tril2(n, DType::U8, &Device::Cpu).unwrap().narrow(0, 0, n).unwrap();
        let near = (&mask
            - Tensor::tril2(n, DType::U8, &Device::Cpu)
                .unwrap()
                .roll(3, 0)
                .unwrap()
                .mul(&mask)
                .unwrap())
        .unwrap();
        let eye = Tensor::eye(n, DType::U8, &Device::Cpu).unwrap();
        let mask = near.maximum(&eye).unwrap();
        let masked = Input::masked(&ids, None, Some(&mask)).unwrap();
        let whole = decoder.logits(&masked).unwrap();
        let mut cache = Cache::new(decoder.spec().layers, 3);
        let part = ids.narrow(1, 0, 5).unwrap();
        let corner = mask.narrow(0, 0, 5).unwrap().narrow(1, 0, 5).unwrap();
        let part = Input::masked(&part, None, Some(&corner)).unwrap();
        decoder.extend(&part, &mut cache, &Options::default(), &mut Unobserved).unwrap();
        let rest = decoder
            .extend(&masked, &mut cache, &Options::default(), &mut Unobserved)
            .unwrap()
            .logits
            .unwrap();
        let off = difference(&rest, &whole.narrow(1, 5, n - 5).unwrap());
        assert!(off < 2e-5, "{}: off by {off}", subject.name);
    }
}

#[test]
fn masks_in_scripts() {
    let out = prints(
        r#"
        let mask = ones([n, n]);
        let plain = m.forward(ids).logits;
        print((m.forward(ids, #{mask: mask}).logits == plain).all().item());
        mask[[-1, 1]] = 0;
        let probs = m.capture(ids, "attn-probs", #{mask: mask});
        print(probs[[.., .., .., -1, 1]].abs().max().item());
        print((probs[[.., .., .., ..-1]] == m.capture(ids, "attn-probs")[[.., .., .., ..-1]]).all().item());
        // Another mask is another pass, for what is kept of one too.
        let ctx = context([hook("post-mlp", |x, ctx| { ctx.last = x; }, #{layers: -1})]);
        let logits = [(), mask, mask.unsqueeze(0), mask.reshape(1, 1, n, n) == 1.0].map(|mask| m.forward(ids, ctx, #{mask: mask}).logits);
        print([(logits[0] == plain).all().item(), (logits[1] == logits[0]).all().item(),
            (logits[1] == logits[2]).all().item(), (logits[1] == logits[3]).all().item()]);
        // Of a padded batch, beside the mask that the ids carry.
        let both = m.encode(["When Mary and John went to the store", "When Mary"], #{pad: "left"});
        let seen = m.capture(both, "attn-probs", #{mask: ones([n, n])});
        print((seen == m.capture(both, "attn-probs")).all().item());
        // A mask of the ids' own shape says which are real, even where they are as many as their rows.
        let square = ids[[.., ..3]].repeat(3, 1);
        print(m.forward(square, #{mask: ones([3, 3]).tril(), logits: "last"}).logits.shape
            == m.forward(square, #{logits: "last"}).logits.shape);
        let first = m.forward(square[[0..1, 0..1]]).logits[0];
        print((m.forward(square, #{mask: ones([3, 3]).tril(), logits: "last"}).logits[0] - first).abs().max().item() < 0.0001);
        print((m.forward(square, #{mask: ones([1, 3, 3]).tril()}).logits == m.forward(square).logits).all().item());
        "#,
    );
    assert_eq!(out, "true\n0.0\ntrue\n[true, false, true, true]\ntrue\ntrue\ntrue\ntrue\n");
}

#[test]
fn masks_that_can_not_be() {
    for (call, said) in [
        ("m.forward(ids, #{mask: ones([5])})", "the mask is [5], and the token ids are [2, "),
        (
            "m.forward(ids, #{mask: ones([3, 1, ids.shape[1], ids.shape[1]])})",
            "the mask is [3, 1, ",
        ),
        (
            "m.forward(ids, #{mask: ones([2, 4, ids.shape[1], ids.shape[1]])})",
            "one for each head is more than a pass takes",
        ),
        (
            "m.forward(ids, #{mask: zeros([ids.shape[1], ids.shape[1]])})",
            "the mask leaves token 0 of row 0 nothing to look at",
        ),
        (
            "let mask = ones([ids.shape[1], ids.shape[1]]); mask[1] = 0; m.forward(ids, #{mask: mask})",
            "leaves token 1 of row 0 nothing",
        ),
        (
            "m.forward(ids, #{mask: full([ids.shape[1], ids.shape[1]], -1e9)})",
            "a mask holds true or 1, and false or 0, not -1000000000",
        ),
        (
            "m.forward(ids, #{mask: full(ids.shape, 2)})",
            "a mask holds true or 1, and false or 0, not 2",
        ),
        (
            "m.generate(ids, #{mask: ones([ids.shape[1], ids.shape[1]])})",
            "a mask of attention says nothing of the tokens that are to be generated",
        ),
    ] {
        let error = fails(&format!("{call};"));
        assert!(error.contains(said), "{call}:\n{error}");
    }
}
