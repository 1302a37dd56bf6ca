//! A value that a hook computes and loses, and the error that reports it.

use rhai::{Expr, Position};

use crate::{Error, error};

/// A value that was assigned to the hook's x and is gone when the hook returns.
pub struct Lost {
    /// The form of the assignment.
    pub how: How,
    /// An in-place operation that the script could use instead.
    instead: Option<String>,
    /// The position of the assignment.
    pub position: Position,
}

/// The form of an assignment to x.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `let x = …`
    Let,
    /// `x = …`
    Assigned,
    /// `x += "…"`
    Text,
}

impl Lost {
    /// The value `value`, assigned to x (whose name is `x`) at `position`.
    pub fn new(how: How, x: &str, value: &Expr, position: Position) -> Self {
        Self { how, instead: in_place(x, value), position }
    }

    /// The error that reports it for a hook at `point`.
    pub fn error(&self, x: &str, point: &str) -> Error {
        let stays = format!("what stands at {point} stays as it was");
        let error = match self.how {
            How::Let => {
                error!("let {x} = … makes another variable, of which nothing comes: {stays}")
            }
            How::Assigned => error!(
                "{x} = … only gives another tensor the name {x}, and it is not returned: {stays}"
            ),
            How::Text => error!("{x} += makes a text of {x}, and it is not returned: {stays}"),
        };
        let instead = match (self.how, &self.instead) {
            (How::Text, _) => format!("add a number or a tensor, as in {x} += 1.0"),
            (_, Some(instead)) => format!("write {instead} to change it in place"),
            _ => format!("write into it, as in {x} *= 0.0 or {x}[..] = y"),
        };
        error.help(format!("{instead}, or end with {x}"))
    }
}

/// `x *= 0.0`, for `x * 0.0`.
fn in_place(x: &str, value: &Expr) -> Option<String> {
    let Expr::FnCall(call, _) = value else { return None };
    let (Expr::Variable(name, ..), by) = (call.args.first()?, call.args.get(1)?) else {
        return None;
    };
    let by = match by {
        Expr::FloatConstant(number, _) => format!("{:?}", **number),
        Expr::IntegerConstant(number, _) => number.to_string(),
        Expr::Variable(other, ..) => other.1.to_string(),
        _ => return None,
    };
    let operator = call.name.as_str();
    (name.1 == x && ["+", "-", "*", "/", "%", "**"].contains(&operator))
        .then(|| format!("{x} {operator}= {by}"))
}
