//! What becomes of a mask in each operation on tensors.

use crate::snippet::{all_fail, all_show, error, shown};

/// A padded batch, its mask, and its rows.
const IDS: &str = "let ids = tensor([[5, 6, 7], [8, 9, 0]]); ids.mask = tensor([[true, true, true], [true, true, false]]);";

/// The masks of what the expressions make of the batch.
#[track_caller]
fn masks(cases: &[(&str, &str)]) {
    for (made, expected) in cases {
        assert_eq!(
            shown(&format!("{IDS} let made = {{ {made} }}; made.mask.to_array()")),
            *expected,
            "{made}"
        );
    }
}

#[test]
fn a_mask_goes_where_the_elements_go() {
    masks(&[
        ("ids[1]", "[true, true, false]"),
        ("ids[-1]", "[true, true, false]"),
        ("ids[[1, -1]]", "false"),
        ("ids[1..2]", "[[true, true, false]]"),
        ("ids[[.., 1..]]", "[[true, true], [true, false]]"),
        ("ids[[.., -1]]", "[true, false]"),
        ("ids[[.., [2, 0]]]", "[[true, true], [false, true]]"),
        ("ids[[[1, 0]]]", "[[true, true, false], [true, true, true]]"),
        ("ids[tensor([1, 1])]", "[[true, true, false], [true, true, false]]"),
        ("ids[tensor([false, true])]", "[[true, true, false]]"),
        ("ids[ids >= 7]", "[true, true, true]"),
        ("ids[ids < 7]", "[true, true, false]"),
        ("ids.narrow(1, 1, 2)", "[[true, true], [true, false]]"),
        ("ids.select(1, 2)", "[true, false]"),
        ("ids.index_select(0, tensor([1, 0]))", "[[true, true, false], [true, true, true]]"),
        ("ids.gather(1, tensor([[2], [2]]))", "[[true], [false]]"),
        ("ids.reshape(3, 2)", "[[true, true], [true, true], [true, false]]"),
        ("ids.unsqueeze(0)[0]", "[[true, true, true], [true, true, false]]"),
        ("ids.unsqueeze(1).squeeze()", "[[true, true, true], [true, true, false]]"),
        ("ids.flatten()", "[true, true, true, true, true, false]"),
        ("ids.transpose(0, 1)", "[[true, true], [true, true], [true, false]]"),
        ("ids.permute(1, 0)", "[[true, true], [true, true], [true, false]]"),
        ("ids[1..2].expand(2, -1)", "[[true, true, false], [true, true, false]]"),
        ("ids[1].repeat(2, 1)", "[[true, true, false], [true, true, false]]"),
        ("ids[1..2].repeat_interleave(2, 0)", "[[true, true, false], [true, true, false]]"),
        ("ids.flip(0)", "[[true, true, false], [true, true, true]]"),
        ("ids.flip(1)", "[[true, true, true], [false, true, true]]"),
        ("ids.roll(1, 1)", "[[true, true, true], [false, true, true]]"),
        ("ids.roll(1, 0)", "[[true, true, false], [true, true, true]]"),
        ("ids.fftshift(0)", "[[true, true, false], [true, true, true]]"),
        ("ids.split(1)[1]", "[[true, true, false]]"),
        ("ids.split([1, 2], 1)[1]", "[[true, true], [true, false]]"),
        ("ids.chunk(2, 0)[1]", "[[true, true, false]]"),
        ("ids.copy()", "[[true, true, true], [true, true, false]]"),
        ("tensor(ids)", "[[true, true, true], [true, true, false]]"),
        ("ids.cpu()", "[[true, true, true], [true, true, false]]"),
        ("ids.to(\"u32\")", "[[true, true, true], [true, true, false]]"),
        (
            "let rows = []; for row in ids { rows.push(row); } stack(rows)",
            "[[true, true, true], [true, true, false]]",
        ),
        (
            "let rows = []; for row in ids { rows.push(row); } stack(rows.map(|row| row.flip(0)))",
            "[[true, true, true], [false, true, true]]",
        ),
        ("cat([ids, ids[1..2]])", "[[true, true, true], [true, true, false], [true, true, false]]"),
        ("cat([ids, ids[[.., ..1]]], 1)", "[[true, true, true, true], [true, true, false, true]]"),
        ("ids.sort(1).values", "[[true, true, true], [false, true, true]]"),
        (
            "ids.sort(#{dim: 1, descending: true}).values",
            "[[true, true, true], [true, true, false]]",
        ),
        ("ids.topk(1, #{dim: 1, largest: false}).values", "[[true], [false]]"),
    ]);
}

#[test]
fn plain_integers_beside_ids_with_a_mask_are_real_and_their_mask_is_true_throughout() {
    masks(&[
        (
            "cat([ids, tensor([[1, 2, 3]])])",
            "[[true, true, true], [true, true, false], [true, true, true]]",
        ),
        ("stack([tensor([1, 2, 3]), ids[1]])", "[[true, true, true], [true, true, false]]"),
        (
            "cat([tensor([[1], [2]]), ids], 1)",
            "[[true, true, true, true], [true, true, true, false]]",
        ),
        ("arange(3)", "[true, true, true]"),
        ("tensor(ids.to_array())", "[[true, true, true], [true, true, true]]"),
        ("ids.argmax(1)", "[true, true]"),
        ("ids.sort(1).indices[1]", "[true, true, true]"),
        ("ids.sum(0)", "[true, true, true]"),
        ("ids.cumsum(1)[1]", "[true, true, true]"),
        ("ids.diff()[1]", "[true, true]"),
        ("ids.cov().to(\"i64\")", "[[true, true], [true, true]]"),
        ("ids.corrcoef().to(\"i64\")", "[[true, true], [true, true]]"),
        ("ids.nonzero()[0]", "[true, true]"),
        ("unravel_index(ids[1], 100)[0]", "[true, true, true]"),
    ]);
    assert_eq!(
        shown(&format!("{IDS} dot(ids[1], tensor([1, 1, 1])).mask")),
        "tensor [] bool cpu: true"
    );
}

#[test]
fn a_patched_token_keeps_its_mask_and_ids_that_carry_one_bring_it() {
    masks(&[
        ("ids + 1", "[[true, true, true], [true, true, false]]"),
        ("(1 + ids) % 3", "[[true, true, true], [true, true, false]]"),
        ("-ids", "[[true, true, true], [true, true, false]]"),
        ("ids.clamp(0, 6)", "[[true, true, true], [true, true, false]]"),
        ("maximum(ids, 6)", "[[true, true, true], [true, true, false]]"),
        ("ids[1] + zeros([2, 3], #{dtype: \"i64\"})", "[[true, true, false], [true, true, false]]"),
        ("ids + ids[[0, 0]]", "[[true, true, true], [true, true, false]]"),
        ("ids + ids.flip(0).flip(0)", "[[true, true, true], [true, true, false]]"),
        ("ids.masked_fill(ids == 0, 4)", "[[true, true, true], [true, true, false]]"),
        ("where(ids > 5, 4, ids)", "[[true, true, true], [true, true, false]]"),
        ("where(ids > 5, tensor([[1, 2, 3]]), ids)", "[[true, true, true], [true, true, false]]"),
        (
            "where(tensor([[true], [false]]), ids.flip(0), ids)",
            "[[true, true, false], [true, true, false]]",
        ),
        ("ids.scatter(1, tensor([[0], [2]]), 4)", "[[true, true, true], [true, true, false]]"),
        (
            "ids.scatter(1, tensor([[0], [2]]), ids[[.., 1..2]])",
            "[[true, true, true], [true, true, true]]",
        ),
        ("ids.tril()", "[[true, true, true], [true, true, false]]"),
        ("full_like(ids, 2)", "[[true, true, true], [true, true, false]]"),
        ("ids[[1, 2]] = 4; ids", "[[true, true, true], [true, true, false]]"),
        ("ids[[.., 2]] = tensor([1, 2]); ids", "[[true, true, true], [true, true, false]]"),
        ("ids[0] = ids[1]; ids", "[[true, true, false], [true, true, false]]"),
        ("ids[1] = ids[0]; ids", "[[true, true, true], [true, true, true]]"),
        ("ids[[1, 2]] = ids[[0, 0]]; ids", "[[true, true, true], [true, true, true]]"),
        ("ids[tensor([true, false])] = ids[1]; ids", "[[true, true, false], [true, true, false]]"),
        ("ids += 1; ids", "[[true, true, true], [true, true, false]]"),
        (
            "let own = zeros([2, 3], #{dtype: \"i64\"}); own += ids; own",
            "[[true, true, true], [true, true, false]]",
        ),
        (
            "let batch = zeros([2, 3], #{dtype: \"i64\"}); batch[0] = ids[1]; batch",
            "[[true, true, false], [true, true, true]]",
        ),
        ("let map = arange(10); map[ids]", "[[true, true, true], [true, true, false]]"),
        ("let map = arange(10); map[[ids]]", "[[true, true, true], [true, true, false]]"),
        ("let map = arange(10); map.index_select(0, ids[1])", "[true, true, false]"),
    ]);
}

#[test]
fn what_was_derived_before_does_not_change_with_a_mask() {
    masks(&[
        (
            "let before = ids.copy(); before.mask[[0, 0]] = false; ids",
            "[[true, true, true], [true, true, false]]",
        ),
        ("let row = ids[1]; ids.mask[[1, 0]] = false; row", "[true, true, false]"),
        (
            "let row = ids[1]; row.mask = tensor([false, true, true]); ids",
            "[[true, true, true], [true, true, false]]",
        ),
        ("let row = ids[1]; ids[1] = ids[0]; row", "[true, true, false]"),
        ("let same = ids; ids[1] = ids[0]; same", "[[true, true, true], [true, true, true]]"),
        ("ids.mask[[0, 0]] = false; ids", "[[false, true, true], [true, true, false]]"),
        ("ids[1].mask[0] = false; ids", "[[true, true, true], [false, true, false]]"),
        ("let plain = tensor([1, 2]); plain.mask[1] = false; plain", "[true, false]"),
        ("let plain = tensor([1, 2]); plain.mask.sum(); ids[0] = ids[1]; plain", "[true, true]"),
        ("let seen = ids.mask.sum(); ids", "[[true, true, true], [true, true, false]]"),
        (
            "ids.mask = tensor([[1, 0, 1], [1, 1, 1]]); ids",
            "[[true, false, true], [true, true, true]]",
        ),
    ]);
}

#[test]
fn what_is_no_token_ids_carries_no_mask() {
    for made in [
        "ids * 1.0",
        "ids / 2",
        "ids > 5",
        "ids.mask",
        "ids.to(\"f32\")",
        "zeros([2, 3])",
        "ids.imag * 1.0",
    ] {
        assert_eq!(error(&format!("{IDS} ({made}).mask")), "this tensor carries no mask", "{made}");
    }
}

#[test]
fn where_a_mask_cannot_follow_it_is_said() {
    let cant = "these are token ids with padding, and their mask can't follow them through this";
    let differ = "both sides are token ids, and their masks differ: what is real in the one is padding in the other";
    for (made, said) in [
        ("matmul(tensor([[0, 1], [1, 0]]), ids)", cant),
        ("einsum(\"ij->ji\", ids)", cant),
        ("outer(ids[1], tensor([1, 2]))", cant),
        ("ids + ids.flip(0)", differ),
        ("ids += ids.flip(0)", differ),
        ("minimum(ids, ids.flip(0))", differ),
        (
            "ids.mask = tensor([true])",
            "the mask is [1], and the token ids are [2, 3]: they must be alike",
        ),
        ("ids.mask = 1", "a mask is a tensor of bools in the shape of the ids, not 1"),
        (
            "ids.mask = ids",
            "a mask is true or 1 at real tokens, false or 0 at padding, and this one holds other numbers",
        ),
        (
            "let x = zeros([2]); x.mask = tensor([1, 1])",
            "only token ids carry a mask, and a tensor [2] of f32 is none",
        ),
    ] {
        assert_eq!(error(&format!("{IDS} {made};")), said, "{made}");
    }
    // Without padding nothing is lost.
    all_show(&[(
        "let ids = tensor([[1, 2]]); ids.mask = tensor([[true, true]]); matmul(ids, tensor([[1], [1]]))",
        "tensor [1, 1] i64 cpu: [[3]]",
    )]);
    all_fail(&[
        (
            "stack([tensor([1, 2]), tensor([1, 2, 3])])",
            "stack needs tensors of one shape, not [2] and [3]",
        ),
        (
            "cat([tensor([[1, 2]]), tensor([[1, 2, 3]])])",
            "cat along dim 0: shapes [1, 2] and [1, 3] differ elsewhere",
        ),
    ]);
}

#[test]
fn what_to_do_about_texts_of_different_lengths_is_said() {
    let help = |script: &str| {
        crate::snippet::engine().eval::<rhai::Dynamic>(script).unwrap_err().to_string()
    };
    let pads = "m.encode([first, second]) pads texts of different lengths";
    for joined in [
        "stack([tensor([1, 2]), tensor([3])])",
        "cat([tensor([[1, 2]]), tensor([[3]])])",
        "cat([tensor([[1, 2]]), tensor([[3]])], 0)",
    ] {
        assert!(help(joined).contains(pads), "{joined}: {}", help(joined));
    }
    for joined in ["cat([tensor([[1, 2]]), tensor([[3], [4]])], 1)", "stack([ones(2), ones(3)])"] {
        assert!(!help(joined).contains(pads), "{joined}: {}", help(joined));
    }
}

#[test]
fn a_loss_of_the_scripts_own_leaves_padded_targets_out() {
    let logits = "let logits = tensor([[[0.0, 3.0], [2.0, 0.0]], [[0.0, 5.0], [9.0, 0.0]]]);";
    let ids =
        "let ids = tensor([[1, 0], [0, 1]]); ids.mask = tensor([[true, true], [true, false]]);";
    let alone = "let whole = cross_entropy(logits[0], ids[0], #{reduction: \"sum\"}); \
        let short = cross_entropy(logits[[1, 0..1]], ids[[1, 0..1]]); let alone = whole + short;";
    for (reduction, targets) in [("sum", 1.0), ("mean", 3.0)] {
        let batch =
            format!("cross_entropy(logits, ids, #{{reduction: \"{reduction}\"}}) * {targets:.1}");
        let close = format!("{logits} {ids} {alone} ({batch} - alone).abs().item() < 0.000001");
        assert_eq!(shown(&close), "true", "{reduction}");
    }
}
