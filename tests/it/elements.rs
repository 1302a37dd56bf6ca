//! What the reference's rows do not show: dtypes, empty tensors, edges, and the sentences of
//! errors.

use crate::snippet::{all_fail, all_show, error, shown};

#[test]
fn indexing_is_pytorchs() {
    let t = "let t = arange(24).reshape(2, 3, 4);";
    let shape = |index: &str| shown(&format!("{t} t[{index}].shape"));
    for (index, expected) in [
        ("0", "[3, 4]"),
        ("0..1", "[1, 3, 4]"),
        ("5..9", "[0, 3, 4]"),
        ("-9..1", "[1, 3, 4]"),
        ("0..=-1", "[2, 3, 4]"),
        ("[]", "[2, 3, 4]"),
        ("[.., -1]", "[2, 4]"),
        ("[.., [0, 2]]", "[2, 2, 4]"),
        ("[.., [0, 2], [1, 1]]", "[2, 2]"),
        ("[[0, 1], .., [1, 1]]", "[2, 3]"),
        ("[[0, 1], 0, [1, 1]]", "[2]"),
        ("[0, .., [1, 2]]", "[3, 2]"),
        ("[.., tensor([[0], [1]]), tensor([0, 1, 2])]", "[2, 2, 3]"),
        ("[.., tensor([true, false, true])]", "[2, 2, 4]"),
        ("t > 100", "[0]"),
        ("tensor([true, false])", "[1, 3, 4]"),
        ("tensor(1)", "[3, 4]"),
        ("[[]]", "[0, 3, 4]"),
        ("tensor([1, -1, 0])", "[3, 3, 4]"),
    ] {
        assert_eq!(shape(index), expected, "t[{index}]");
    }
    all_show(&[
        (&format!("{t} t[[[0, 1], .., [1, 3]]].to_array()"), "[[1, 5, 9], [15, 19, 23]]"),
        (&format!("{t} t[[.., [0, 2], [1, 3]]].to_array()"), "[[1, 11], [13, 23]]"),
        (&format!("{t} t.transpose(0, 2)[[[3, 0], 1, 1]].to_array()"), "[19, 16]"),
        ("tensor([1.0, 2.0]).to(\"c64\")[[[1, 0]]].real.to_array()", "[2.0, 1.0]"),
    ]);
    all_fail(&[
        (&format!("{t} t[2]"), "index 2 is out of range for dim 0 of a tensor [2, 3, 4]"),
        (&format!("{t} t[[0, -4]]"), "index -4 is out of range for dim 1 of a tensor [2, 3, 4]"),
        (&format!("{t} t[[0, 0, 0, 0]]"), "a tensor [2, 3, 4] has 3 dims, and the index has more"),
        (
            &format!("{t} t[tensor([0, 2])]"),
            "index 2 is out of range for dim 0 of a tensor [2, 3, 4]",
        ),
        (
            &format!("{t} t[tensor([true, true, true])]"),
            "a mask [3] does not fit dims [2, 3, 4] of a tensor [2, 3, 4]",
        ),
        (&format!("{t} t[tensor([0.0])]"), "indexing needs integers for ids, not f32"),
        (
            &format!("{t} t[[[0, 1], [0, 1, 2]]]"),
            "picking along several dims: shapes [2] and [3] do not broadcast: 2 against 3",
        ),
        (&format!("{t} t[[1.5]]"), "a tensor cannot be indexed by 1.5"),
        (
            &format!("{t} t.shap"),
            "Unknown property 'shap' - a getter is not registered for type 'tensor'",
        ),
        ("tensor(1.0)[0]", "a tensor without dims cannot be indexed"),
        ("zeros(0)[0]", "index 0 is out of range for dim 0 of a tensor [0]"),
    ]);
}

#[test]
fn dtypes_promote_as_pytorchs() {
    let dtype = |script: &str| shown(&format!("({script}).dtype"));
    let of = |name: &str| format!("ones(2, #{{dtype: \"{name}\"}})");
    for (a, b, expected) in [
        ("bool", "bool", "bool"),
        ("bool", "u8", "u8"),
        ("u8", "u32", "u32"),
        ("u8", "i64", "i64"),
        ("i64", "f16", "f16"),
        ("f16", "bf16", "f32"),
        ("bf16", "f32", "f32"),
        ("f32", "f64", "f64"),
        ("f32", "c64", "c64"),
        ("f64", "c64", "c128"),
    ] {
        assert_eq!(dtype(&format!("{} + {}", of(a), of(b))), expected);
        assert_eq!(dtype(&format!("{} * {}", of(b), of(a))), expected);
    }
    for (kind, with_int, with_float, divided) in [
        ("bool", "i64", "f32", "f32"),
        ("u8", "u8", "f32", "f32"),
        ("u32", "u32", "f32", "f32"),
        ("i64", "i64", "f32", "f32"),
        ("f16", "f16", "f16", "f16"),
        ("bf16", "bf16", "bf16", "bf16"),
        ("f32", "f32", "f32", "f32"),
        ("f64", "f64", "f64", "f64"),
        ("c64", "c64", "c64", "c64"),
        ("c128", "c128", "c128", "c128"),
    ] {
        assert_eq!(dtype(&format!("{} + 1", of(kind))), with_int);
        assert_eq!(dtype(&format!("1 - {}", of(kind))), with_int);
        assert_eq!(dtype(&format!("{} * 2.0", of(kind))), with_float);
        assert_eq!(dtype(&format!("2.0 * {}", of(kind))), with_float);
        assert_eq!(dtype(&format!("{} / 2", of(kind))), divided);
        assert_eq!(dtype(&format!("{} == 1", of(kind))), "bool");
        assert_eq!(dtype(&format!("1.0 != {}", of(kind))), "bool");
    }
    all_show(&[
        ("(ones(2, #{dtype: \"f16\"}) * tensor(2.0, #{dtype: \"f64\"})).dtype", "f16"),
        ("(arange(2) * tensor(2.0)).dtype", "f32"),
        ("cat([arange(1), zeros(1)]).dtype", "f32"),
        ("where(tensor([true]), 1, 2).dtype", "i64"),
        ("where(tensor([true]), tensor([1]), 0.5).dtype", "f32"),
        ("arange(0, 1, 0.25).dtype", "f32"),
        ("tensor([true, 2]).dtype", "i64"),
        ("tensor([1, 2.5]).dtype", "f32"),
        ("tensor([true]).dtype", "bool"),
        ("full([1], true).dtype", "bool"),
        ("arange(3).exp().dtype", "f32"),
        ("arange(3).clamp(0.5, 1.5).dtype", "f32"),
    ]);
}

#[test]
fn every_real_dtype_goes_through_everything() {
    for kind in ["f32", "f64", "f16", "bf16", "i64", "u32", "u8"] {
        let t = format!("let t = tensor([[1, 2], [3, 4]], #{{dtype: \"{kind}\"}});");
        let array = |script: &str| shown(&format!("{t} ({script}).to(\"f64\").to_array()"));
        for (script, expected) in [
            ("t + t", "[[2.0, 4.0], [6.0, 8.0]]"),
            ("t - 1", "[[0.0, 1.0], [2.0, 3.0]]"),
            ("2 * t", "[[2.0, 4.0], [6.0, 8.0]]"),
            ("t / 2", "[[0.5, 1.0], [1.5, 2.0]]"),
            ("t % 3", "[[1.0, 2.0], [0.0, 1.0]]"),
            ("t ** 2", "[[1.0, 4.0], [9.0, 16.0]]"),
            ("t ** tensor([[3, 2], [1, 0]])", "[[1.0, 4.0], [3.0, 1.0]]"),
            ("2 ** t", "[[2.0, 4.0], [8.0, 16.0]]"),
            ("minimum(t, 2)", "[[1.0, 2.0], [2.0, 2.0]]"),
            ("maximum(t, 2)", "[[2.0, 2.0], [3.0, 4.0]]"),
            ("t.clamp(2, 3)", "[[2.0, 2.0], [3.0, 3.0]]"),
            ("t.abs()", "[[1.0, 2.0], [3.0, 4.0]]"),
            ("t.sign()", "[[1.0, 1.0], [1.0, 1.0]]"),
            ("t.round()", "[[1.0, 2.0], [3.0, 4.0]]"),
            ("t.relu()", "[[1.0, 2.0], [3.0, 4.0]]"),
            ("(t * t).sqrt()", "[[1.0, 2.0], [3.0, 4.0]]"),
            ("where(t > 2, t, 0)", "[[0.0, 0.0], [3.0, 4.0]]"),
            ("t.masked_fill(t == 1, 9)", "[[9.0, 2.0], [3.0, 4.0]]"),
            ("t[[[1, 0]]]", "[[3.0, 4.0], [1.0, 2.0]]"),
            ("t.gather(1, tensor([[1], [0]]))", "[[2.0], [3.0]]"),
            ("t.scatter(0, tensor([[1, 0]]), 7)", "[[1.0, 7.0], [7.0, 4.0]]"),
            ("t.tril()", "[[1.0, 0.0], [3.0, 4.0]]"),
            ("t.flip([0, 1])", "[[4.0, 3.0], [2.0, 1.0]]"),
            ("t.roll([1, 1], [0, 1])", "[[4.0, 3.0], [2.0, 1.0]]"),
            ("cat([t, t], -1)", "[[1.0, 2.0, 1.0, 2.0], [3.0, 4.0, 3.0, 4.0]]"),
            ("t.repeat_interleave([0, 2], 0)", "[[3.0, 4.0], [3.0, 4.0]]"),
            ("t == t.transpose(0, 1)", "[[1.0, 0.0], [0.0, 1.0]]"),
            ("t.nonzero()", "[[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]"),
            ("full_like(t, 3)", "[[3.0, 3.0], [3.0, 3.0]]"),
        ] {
            assert_eq!(array(script), expected, "{kind}: {script}");
        }
        assert_eq!(
            shown(&format!(
                "{t} t[1] = 8; t[[.., 0]] = t[0]; t[t > 7] = 0; t.to(\"f64\").to_array()"
            )),
            "[[1.0, 2.0], [2.0, 0.0]]"
        );
    }
}

#[test]
fn empty_tensors_pass_through() {
    for (script, shape) in [
        ("zeros(0) + 1", "[0]"),
        ("zeros(0, 3) * ones(3)", "[0, 3]"),
        ("zeros(2, 0) - zeros(2, 1)", "[2, 0]"),
        ("zeros(0) == 1", "[0]"),
        ("zeros(0) ** 2", "[0]"),
        ("arange(0) % 2", "[0]"),
        ("tensor([])", "[0]"),
        ("tensor([[], []])", "[2, 0]"),
        ("zeros(0, 2).exp()", "[0, 2]"),
        ("zeros(0, 2).round()", "[0, 2]"),
        ("zeros(0, 2).transpose(0, 1)", "[2, 0]"),
        ("zeros(0, 2).reshape(2, -1, 3)", "[2, 0, 3]"),
        ("cat([zeros(0, 2), zeros(0, 2)], 0)", "[0, 2]"),
        ("cat([zeros(0), zeros(3, 2)], 1)", "[3, 2]"),
        ("cat([zeros(0, 2), ones(3, 2)], 0)", "[3, 2]"),
        ("stack([zeros(0), zeros(0)])", "[2, 0]"),
        ("zeros(0).split(2)[0]", "[0]"),
        ("zeros(0, 2).chunk(3)[0]", "[0, 2]"),
        ("zeros(0, 2).repeat(2, 2)", "[0, 4]"),
        ("zeros(3).repeat(0)", "[0]"),
        ("zeros(0).repeat_interleave(3)", "[0]"),
        ("zeros(1, 0).expand(4, 0)", "[4, 0]"),
        ("zeros(0, 2).flip([0, 1])", "[0, 2]"),
        ("zeros(0).roll(1)", "[0]"),
        ("zeros(0, 3).tril()", "[0, 3]"),
        ("zeros(0).nonzero()", "[0, 1]"),
        ("tensor(1.0).nonzero()", "[1, 0]"),
        ("unravel_index(tensor([], #{dtype: \"i64\"}), [0, 3])[1]", "[0]"),
        ("zeros(0, 2)[[.., [1]]]", "[0, 1]"),
        ("zeros(3).gather(0, tensor([], #{dtype: \"i64\"}))", "[0]"),
        ("zeros(3).index_select(0, tensor([], #{dtype: \"i64\"}))", "[0]"),
        ("zeros(0).masked_fill(zeros(0) > 0, 1)", "[0]"),
        ("where(zeros(0) > 0, 1, 2)", "[0]"),
        ("zeros(0).to(\"bool\")", "[0]"),
        ("zeros(0).to(\"c64\") * 2", "[0]"),
        ("zeros(0).to(\"c64\").abs()", "[0]"),
        ("!(zeros(0) > 1)", "[0]"),
        ("(zeros(0) > 1) & true", "[0]"),
        ("-arange(0)", "[0]"),
        ("zeros(0).copy()", "[0]"),
        ("eye(0)", "[0, 0]"),
        ("linspace(0, 1, 0)", "[0]"),
        ("randn(0)", "[0]"),
        ("zeros(0, 3).flatten()", "[0]"),
    ] {
        assert_eq!(shown(&format!("({script}).shape")), shape, "{script}");
    }
    all_show(&[
        ("zeros(0, 3)", "tensor [0, 3] f32 cpu: empty"),
        ("zeros(2, 0).to_array()", "[[], []]"),
        ("let n = 0; for row in zeros(0, 2) { n += 1; } n", "0"),
    ]);
}

#[test]
fn numbers_keep_their_edges() {
    all_show(&[
        ("(tensor([5.5, -5.5, 5.5]) % tensor([2.0, 2.0, -2.0])).to_array()", "[1.5, 0.5, -0.5]"),
        ("(7 % tensor([4, -4])).to_array()", "[3, -1]"),
        ("(tensor([1, 0]) / 0).to_array()[0]", "inf"),
        ("(tensor([-8.0]) ** 3).item()", "-512.0"),
        ("(tensor([255], #{dtype: \"u8\"}) + 1).item()", "0"),
        ("(tensor([0], #{dtype: \"u32\"}) - 1).item()", "4294967295"),
        ("(tensor([9223372036854775807]) + 1).item()", "-9223372036854775808"),
        ("(tensor([2], #{dtype: \"u8\"}) > -1).item()", "true"),
        ("(tensor([2], #{dtype: \"u8\"}) < 300).item()", "true"),
        ("(tensor([16777217]) == 16777216).item()", "false"),
        ("(tensor([1.0, 2.0]).log() * 0.0 / 0.0 == 1.0).to_array()", "[false, false]"),
        ("maximum(tensor([0.0, 1.0]).log() * 0.0, 1.0)", "tensor [2] f32 cpu: [nan, 1.0]"),
        ("minimum(1.0, tensor([0.0]).log() * 0.0)", "tensor [1] f32 cpu: [nan]"),
        ("(tensor([0.0]).log() * 0.0).clamp(-1, 1)", "tensor [1] f32 cpu: [nan]"),
        ("(tensor([0.0]).log() * 0.0).relu()", "tensor [1] f32 cpu: [nan]"),
        ("tensor([0.5, 2.5, -0.5, -1.5]).round().to_array()", "[0.0, 2.0, -0.0, -2.0]"),
        ("tensor([-100.0, 100.0]).sigmoid()", "tensor [2] f32 cpu: [3.7835e-44, 1.0]"),
        ("linspace(0, 1, 11)[-1].item()", "1.0"),
        ("linspace(3, 9, 1).to_array()", "[3.0]"),
        ("arange(5, 0, -2).to_array()", "[5, 3, 1]"),
        ("arange(0.0, 1.0, 0.25).to_array()", "[0.0, 0.25, 0.5, 0.75]"),
        ("(ones(1, #{dtype: \"f16\"}) * 2.0 ** 11.0 + 1.0).item()", "2048.0"),
        (
            "let z = tensor([3.0]) + tensor([-16.0]).to(\"c64\") ** 0.5; [z.abs().item(), (z * z.conj()).real.item(), (z / z).real.item(), (1 / z).imag.item()]",
            "[5.0, 25.0, 1.0, -0.1599999964237213]",
        ),
        (
            "let z = tensor([-1.0]).to(\"c64\") ** 0.5; [(z * true).imag.item(), (z == z).item(), (z != 0).item(), (-z).imag.item(), (2.0 - z).imag.item(), (z * tensor([true])).imag.item()]",
            "[1.0, true, true, -1.0, -1.0, 1.0]",
        ),
        ("let t = ones(2); [t == (), t != ()]", "[false, true]"),
        ("let a = true + tensor([true, false]); a", "tensor [2] bool cpu: [true, true]"),
        ("(tensor([true, false]) * false).dtype", "bool"),
        ("let t = rand(2000); [(t < 1.0).nonzero().len, (t >= 0.0).nonzero().len]", "[2000, 2000]"),
        ("let t = rand(2000, #{dtype: \"bf16\"}); (t < 1.0).nonzero().len", "2000"),
        (
            "seed(3); let a = randn(2, 3); let b = randn(2, 3); seed(3); [(a == randn(2, 3)).nonzero().len, (a == b).nonzero().len]",
            "[6, 0]",
        ),
        (
            "let s = 0; for x in randn(10000) { s += x * x; } (s / 10000 - 1.0).abs().item() < 0.05",
            "true",
        ),
    ]);
}

/// A place that is taken apart leads back to its element, and one that is not there is an error.
#[test]
fn places_in_flattened_tensors_are_taken_apart() {
    all_show(&[
        (
            "seed(3); let t = randn(3, 4, 5); let top = t.flatten().topk(7); let at = unravel_index(top.indices, t.shape);
             (t[[at[0], at[1], at[2]]] == top.values).all().item()",
            "true",
        ),
        ("unravel_index(tensor([[22, 41], [37, 0]]), [7, 6]).map(|at| at.to_array())", "[[[3, 6], [6, 0]], [[4, 5], [1, 0]]]"),
        ("unravel_index(tensor(5), 6).map(|at| at.item())", "[5]"),
        ("unravel_index(tensor(0), [])", "[]"),
        ("[[1, 2.0, 3].logsumexp() == tensor([1.0, 2.0, 3.0], #{dtype: \"f64\"}).logsumexp().item(), [].logsumexp(), [inf, 1].logsumexp(), [nan, 1].logsumexp(), [-inf].logsumexp()]", "[true, -inf, inf, NaN, -inf]"),
    ]);
    all_fail(&[
        ("unravel_index(tensor([6]), [2, 3])", "unravel_index: a tensor [2, 3] has no element 6"),
        ("unravel_index(tensor([-1]), [2, 3])", "unravel_index: a tensor [2, 3] has no element -1"),
        ("unravel_index(tensor([1.0]), [2, 3])", "unravel_index needs integers, not f32"),
    ]);
}

#[test]
fn printing_is_a_summary() {
    let long = shown("randn(1000, 1000)");
    assert!(long.starts_with("tensor [1000, 1000] f32 cpu: mean ") && long.len() < 160, "{long}");
    all_show(&[
        ("tensor(2.5)", "tensor [] f32 cpu: 2.5"),
        (
            "(arange(100) > 49)",
            "tensor [100] bool cpu: 50 of 100 true: [false, false, false, false, false, false, …]",
        ),
        (
            "let t = ones(40); t[3] = tensor(0.0) / 0.0; t",
            "tensor [40] f32 cpu: mean 1.0, std 0.0, min 1.0, max 1.0, nan 1: [1.0, 1.0, 1.0, nan, 1.0, 1.0, …]",
        ),
        (
            "(ones(40).to(\"c64\") * 2.0)",
            "tensor [40] c64 cpu: abs mean 2.0, std 0.0, min 2.0, max 2.0: [2.0+0.0i, 2.0+0.0i, 2.0+0.0i, 2.0+0.0i, 2.0+0.0i, 2.0+0.0i, …]",
        ),
        ("#{a: tensor([1])}.to_string()", "#{\"a\": tensor [1] i64 cpu: [1]}"),
    ]);
}

#[test]
fn captured_tensors_work_in_closures() {
    all_show(&[
        ("let t = arange(3); let f = |x| t + x; f.call(t).to_array()", "[0, 2, 4]"),
        ("let t = arange(3); let f = || minimum(t, t.flip(0)); f.call().to_array()", "[0, 1, 0]"),
        (
            "let t = arange(3); let f = || { t[0] = t[2]; cat([t, t]).to_array() }; f.call()",
            "[2, 1, 2, 2, 1, 2]",
        ),
        ("let t = arange(4); let n = 1; let f = || t[n..3].to_array(); f.call()", "[1, 2]"),
        (
            "let d = 0; let t = zeros(2, 3); let f = || t.flip(d).reshape([d + 3, -1]).shape; f.call()",
            "[3, 2]",
        ),
    ]);
}

#[test]
fn wrong_calls_are_sentences() {
    all_fail(&[
        ("ones(2, 3) + ones(2)", "+: shapes [2, 3] and [2] do not broadcast: 3 against 2"),
        ("ones(2) < ones(3)", "<: shapes [2] and [3] do not broadcast: 2 against 3"),
        ("arange(3) % 0", "%: an integer tensor is divided by 0"),
        ("arange(3) % arange(3)", "%: an integer tensor is divided by 0"),
        ("arange(3) ** -1", "**: an integer tensor cannot be raised to a negative power"),
        ("tensor([true]) - tensor([true])", "- has no meaning for two bool tensors"),
        ("-tensor([true])", "- has no meaning for a bool tensor"),
        ("tensor([true]).relu()", "relu has no meaning for a bool tensor"),
        ("ones(2) & ones(2)", "& needs bool or integer tensors, not f32"),
        ("!ones(2)", "! needs bool or integer tensors, not f32"),
        ("tensor([1], #{dtype: \"u8\"}) + 300", "300 does not fit into u8"),
        ("ones(1).to(\"c64\") < 1", "< has no meaning for complex tensors"),
        ("ones(1).to(\"c64\") % 1", "% has no meaning for complex tensors"),
        ("ones(1).to(\"c64\").exp()", "exp needs a real tensor, and this one is complex"),
        ("ones(1).to(\"c64\").item()", "item needs a real tensor, and this one is complex"),
        (
            "ones(4, 5).flip(3)",
            "dim 3 is out of range for a tensor of rank 2 [4, 5]: expected -2..1",
        ),
        (
            "ones(4, 5).transpose(0, 2)",
            "dim 2 is out of range for a tensor of rank 2 [4, 5]: expected -2..1",
        ),
        (
            "ones(4, 5).unsqueeze(4)",
            "a new dim cannot be at 4 in a tensor of rank 2 [4, 5]: expected -3..2",
        ),
        ("ones(4, 5).permute(0, 0)", "dim 0 is named twice in [0, 0]"),
        ("ones(4, 5).permute(0)", "permute needs each of the 2 dims of [4, 5] once, and got [0]"),
        ("ones(4).reshape(3, -1)", "a tensor [4] of 4 elements cannot be reshaped to [3, -1]"),
        ("ones(4).expand(3)", "a tensor [4] cannot be expanded to [3]"),
        (
            "ones(2, 3).repeat(2)",
            "repeat needs a count for each of the 2 dims of [2, 3], and got [2]",
        ),
        (
            "ones(3).repeat_interleave([1, 2])",
            "repeat_interleave: 2 counts for 3 slices along dim 0 of [3]",
        ),
        ("cat([])", "cat needs at least one tensor"),
        (
            "cat([ones(2, 3), ones(3, 2)])",
            "cat along dim 0: shapes [2, 3] and [3, 2] differ elsewhere",
        ),
        ("cat([ones(2), 3])", "cat joins tensors, and the array holds 3"),
        ("stack([ones(2), ones(3)])", "stack needs tensors of one shape, not [2] and [3]"),
        (
            "ones(5).split([2, 2])",
            "split: sizes [2, 2] do not add up to 5, the size of dim 0 of [5]",
        ),
        ("ones(5).split(0)", "split needs pieces of at least 1, not 0"),
        ("ones(5).narrow(0, 3, 3)", "narrow: 3 from 3 on reaches beyond dim 0 of a tensor [5]"),
        ("ones(5).gather(0, tensor([5]))", "index 5 is out of range for dim 0 of a tensor [5]"),
        (
            "ones(2, 2).gather(0, tensor([0]))",
            "gather along dim 0: ids [1] do not fit a tensor [2, 2]",
        ),
        (
            "ones(2).masked_fill(1 > ones(3), 1)",
            "masked_fill: shapes [2] and [3] do not broadcast: 2 against 3",
        ),
        (
            "ones(2).masked_fill(ones(2), 1)",
            "masked_fill needs a bool tensor for its mask, not f32",
        ),
        ("where(ones(2), 1, 2)", "where needs a bool tensor first, not f32"),
        (
            "tensor([[1, 2], [3]])",
            "tensor: a nested array must be even, and has a row of 1 beside one of 2",
        ),
        (
            "tensor([1, [2]])",
            "tensor: a nested array must be even, and has an array beside a number",
        ),
        (
            "tensor([[1], 2])",
            "tensor: a nested array must be even, and has a number beside an array",
        ),
        ("tensor([\"a\"])", "tensor needs numbers, not the string \"a\""),
        ("tensor([ones(2)])", "tensor: an array may hold numbers, not a tensor [2] of f32"),
        ("tensor([-1], #{dtype: \"u32\"})", "-1 does not fit into u32"),
        ("zeros(-1)", "a shape's sizes are 0 or more, and [-1] has -1"),
        (
            "zeros(\"a\")",
            "zeros: shape must be an integer or an array of integers, not the string \"a\"",
        ),
        ("zeros(2, #{dtyp: \"f16\"})", "zeros has no option dtyp"),
        ("zeros(2, #{dtype: \"f61\"})", "there is no dtype \"f61\""),
        ("zeros(2, #{device: \"gpu\"})", "there is no device \"gpu\""),
        (
            "zeros([1000000000000, 1000000000000])",
            "a tensor [1000000000000, 1000000000000] does not fit in memory",
        ),
        ("arange(0, 5, -1)", "arange cannot come from 0 to 5 by steps of -1"),
        ("arange(5, 0)", "arange cannot come from 5 to 0 by steps of 1"),
        ("rand(2, #{dtype: \"i64\"})", "rand gives floats, not i64"),
        ("seed(-1)", "a seed is 0 or more, not -1"),
        ("ones(2).to(\"f61\")", "to: there is no dtype \"f61\""),
        ("ones(2).item()", "item needs a tensor of one element, not [2]"),
        ("tensor(1).len", "a tensor without dims has no length"),
        ("for x in tensor(1) { x.item(); }", "a tensor without dims has no length"),
        ("ones(2).clamp()", "clamp needs a bound"),
        (
            "ones(2).gelu(#{approximate: \"x\"})",
            "gelu: approximate must be \"none\" or \"tanh\", not \"x\"",
        ),
        ("let t = ones(2); t.imag[0] = 1", "a real tensor has no imaginary part to write"),
        ("let t = ones(2); t.shape = [1]", ".shape gives a copy: what is written into it is lost"),
        ("let t = ones(2); t.shape[0] = 3", ".shape gives a copy: what is written into it is lost"),
        (
            "let t = ones(2); t.shape.push(3)",
            ".shape gives a copy: what is written into it is lost",
        ),
        ("ones(2).tril()", "tril needs a tensor of at least 2 dims, not [2]"),
        ("ones(2).flip(1, 2)", "flip takes at most 2 arguments before its options, and 3 came"),
        (
            "ones(2).flip(\"a\")",
            "flip: dim must be an integer or an array of integers, not the string \"a\"",
        ),
    ]);
    let condition = error("if ones(2) == ones(2) { 1 }");
    assert!(condition.contains("bool"), "{condition}");
}
