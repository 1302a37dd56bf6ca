//! Parses the equations of `einsum`, whose dims are named by letters as in PyTorch or by words as
//! in einops.

use std::cmp::Reverse;

use crate::tensor::Value;

/// The name of a dim. The order is that of the dims of a result without `->`: first those of the
/// ellipsis, then names in alphabetical order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label<'e> {
    /// A dim of the ellipsis, by its distance from the last of them, so that the dims of ellipses
    /// of different lengths are broadcast.
    Unnamed(Reverse<usize>),
    /// A letter or a word.
    Named(&'e str),
}

/// The labels of each operand and of the result.
pub type Labels<'e> = (Vec<Vec<Label<'e>>>, Vec<Label<'e>>);

/// The ellipsis.
const ELLIPSIS: &str = "...";

/// How the dims of an equation are named.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Names {
    /// One letter each, as in PyTorch.
    Letters,
    /// Words separated by spaces, as in einops.
    Words,
}

/// Parses an equation: the labels of the dims of each operand and of the result. Words that fit the
/// operands' ranks as well as letters count as letters.
///
/// # Errors
/// The equation does not fit the operands; the reason is returned.
pub fn parse<'e>(equation: &'e str, operands: &[&Value]) -> Result<Labels<'e>, String> {
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation, None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != operands.len() {
        return Err(format!("it names {} tensors, and {} came", terms.len(), operands.len()));
    }
    let names = Names::of(&terms, operands);
    let mut inputs = Vec::new();
    for (term, value) in terms.iter().zip(operands) {
        let (rank, sizes, count) = (value.rank(), value.dims(), names.count(term));
        let unnamed = match rank.checked_sub(count) {
            Some(0) => 0,
            Some(unnamed) if term.contains(ELLIPSIS) => unnamed,
            _ => {
                return Err(format!(
                    "{:?} names {count} dims, and its tensor {sizes:?} has {rank}",
                    names.show(term)
                ));
            }
        };
        inputs.push(names.labels(term, unnamed)?);
    }
    let unnamed = inputs
        .iter()
        .map(|input| input.iter().filter(|l| matches!(l, Label::Unnamed(_))).count())
        .max();
    let all: Vec<Label> = inputs.concat();
    let output = match right {
        Some(right) => names.labels(right, unnamed.unwrap_or(0))?,
        None if names == Names::Words => {
            return Err("dims named in words need ->, and the names that stay".into());
        }
        None => {
            let once =
                |label: &Label| matches!(label, Label::Unnamed(_)) || count(&all, *label) == 1;
            let mut output: Vec<Label> = all.iter().copied().filter(once).collect();
            output.sort_unstable();
            output.dedup();
            output
        }
    };
    for &label in &output {
        let Label::Named(name) = label else { continue };
        if !all.contains(&label) {
            return Err(format!("{name} is in the result and in no tensor"));
        }
        if count(&output, label) > 1 {
            return Err(format!("{name} is in the result twice"));
        }
    }
    Ok((inputs, output))
}

/// How often a label occurs.
fn count(labels: &[Label], label: Label) -> usize {
    labels.iter().filter(|l| **l == label).count()
}

impl Names {
    /// How the terms are to be read: as letters if their number fits the ranks of the tensors,
    /// spaces ignored, else as words. If an ellipsis makes both fit, a term with several words
    /// decides for words.
    fn of(terms: &[&str], operands: &[&Value]) -> Self {
        let fit = |names: Names| {
            terms.iter().zip(operands).all(|(term, value)| match names.count(term) {
                count if term.contains(ELLIPSIS) => count <= value.rank(),
                count => count == value.rank(),
            })
        };
        let several = |term: &&str| {
            let words: Vec<&str> =
                term.split_whitespace().filter(|word| *word != ELLIPSIS).collect();
            words.len() > 1 && words.iter().any(|word| word.chars().count() > 1)
        };
        let (in_words, open) =
            (terms.iter().any(several), terms.iter().any(|term| term.contains(ELLIPSIS)));
        match (fit(Names::Letters), fit(Names::Words)) {
            (true, true) if open && in_words => Names::Words,
            (true, _) => Names::Letters,
            (false, true) => Names::Words,
            (false, false) if in_words => Names::Words,
            (false, false) => Names::Letters,
        }
    }

    /// How many dims a term names, those of the ellipsis excluded.
    fn count(self, term: &str) -> usize {
        let term = term.replace(ELLIPSIS, " ");
        match self {
            Names::Letters => term.chars().filter(|c| !c.is_whitespace()).count(),
            Names::Words => term.split_whitespace().count(),
        }
    }

    /// The term for an error.
    fn show(self, term: &str) -> String {
        match self {
            Names::Letters => term.chars().filter(|c| !c.is_whitespace()).collect(),
            Names::Words => term.trim().to_owned(),
        }
    }

    /// The labels of one term, whose ellipsis stands for `unnamed` dims.
    ///
    /// # Errors
    /// A character or a word is not the name of a dim; the reason is returned.
    fn labels(self, term: &str, unnamed: usize) -> Result<Vec<Label<'_>>, String> {
        let (before, after) = term.split_once(ELLIPSIS).unwrap_or((term, ""));
        let mut labels = self.names(before)?;
        if term.contains(ELLIPSIS) {
            labels.extend((0..unnamed).rev().map(|place| Label::Unnamed(Reverse(place))));
        }
        labels.extend(self.names(after)?);
        Ok(labels)
    }

    /// The labels of a part of a term without an ellipsis.
    fn names(self, part: &str) -> Result<Vec<Label<'_>>, String> {
        let word = |word: &'_ str| word.starts_with(|c: char| c.is_alphabetic() || c == '_');
        match self {
            Names::Letters => {
                let letters = part.char_indices().filter(|(_, c)| !c.is_whitespace());
                let letter = |(at, c): (usize, char)| match c {
                    'a'..='z' | 'A'..='Z' => Ok(Label::Named(&part[at..at + 1])),
                    other => Err(format!(
                        "{other:?} is no letter; write terms as \"ij,jk->ik\", with ... for any dims"
                    )),
                };
                letters.map(letter).collect()
            }
            Names::Words => {
                let named = |name| match name {
                    name if word(name) && name.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                        Ok(Label::Named(name))
                    }
                    name => Err(format!(
                        "{name:?} is no name of a dim; write terms as \"batch query, batch key -> query key\", with ... for any dims"
                    )),
                };
                part.split_whitespace().map(named).collect()
            }
        }
    }
}
