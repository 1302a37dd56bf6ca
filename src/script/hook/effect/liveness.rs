//! Live-variable analysis of a hook, from its last statement to its first. A variable is live if
//! its value may be returned, stored, written into something that outlives the call, or passed to a
//! function that may do so. Where the analysis is uncertain it assumes that the hook has an effect.

use std::collections::BTreeSet;
use std::rc::Rc;

use rhai::{ASTFlags, BinaryExpr, Expr, FnCallExpr, Position, Stmt};

use super::kind::{Binding, Env, Kind, Kinds, with};
use super::lost::{How, Lost};

/// Methods that only write into the array or map before the dot.
const FILLS: &[&str] = &["append", "insert", "push"];

/// The variables that are live, by the ids of their declarations.
type LiveSet = BTreeSet<usize>;

/// How the value of an expression is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Nothing,
    Value,
    /// The hook returns it.
    Result,
}

impl Want {
    /// How the operands of an expression are used, given how its value is.
    fn parts(self) -> Self {
        if self == Want::Nothing { Want::Nothing } else { Want::Value }
    }

    fn value_if(of_use: bool) -> Self {
        if of_use { Want::Value } else { Want::Nothing }
    }
}

/// The live variables after a loop and at the start of its next iteration.
struct Loop {
    exit: LiveSet,
    head: LiveSet,
    want: Want,
}

/// The analysis of one hook.
pub struct Liveness<'a> {
    kinds: Kinds<'a>,
    /// The hook's name for x.
    x: &'a str,
    loops: Vec<Loop>,
    /// The variables that are live in the handlers that an error may reach from here.
    caught: LiveSet,
    /// Set while the live variables of a loop are iterated to a fixed point: nothing is reported.
    quiet: bool,
    /// Whether any effect that outlives the call was found.
    acts: bool,
    lost: Vec<Lost>,
}

impl<'a> Liveness<'a> {
    /// Analyses a hook's body. Returns whether it may have an effect that outlives the call, and
    /// the values that it loses.
    pub fn through(body: &[Stmt], kinds: Kinds<'a>, env: Rc<Env>, x: &'a str) -> (bool, Vec<Lost>) {
        let (loops, caught, lost) = (Vec::new(), LiveSet::new(), Vec::new());
        let mut walk = Self { kinds, x, loops, caught, quiet: false, acts: false, lost };
        walk.block(body, &env, &mut LiveSet::new(), Want::Result);
        (walk.acts, walk.lost)
    }

    fn block(&mut self, statements: &[Stmt], env: &Rc<Env>, live: &mut LiveSet, want: Want) {
        let mut before = vec![env.clone()];
        for (at, statement) in statements.iter().enumerate() {
            before.push(self.kinds.after(statement, &before[at]));
        }
        for (at, statement) in statements.iter().enumerate().rev() {
            let want = if at + 1 == statements.len() { want } else { Want::Nothing };
            self.statement(statement, &before[at], &before[at + 1], live, want);
        }
    }

    fn statement(
        &mut self,
        statement: &Stmt,
        env: &Rc<Env>,
        after: &Rc<Env>,
        live: &mut LiveSet,
        want: Want,
    ) {
        match statement {
            Stmt::Noop(_) | Stmt::Share(_) => {}
            Stmt::Expr(expression) => self.expression(expression, env, live, want),
            Stmt::Block(block) => self.block(block.statements(), env, live, want),
            Stmt::FnCall(call, _) => self.call(call, env, live, want),
            Stmt::Var(parts, _, position) => {
                let Some(own) = after.get(parts.0.name.as_str()).copied() else { return };
                let of_use = own.kind == Kind::Outside || live.remove(&own.id);
                if !of_use && parts.0.name == self.x {
                    self.lose(How::Let, &parts.1, *position);
                }
                self.expression(&parts.1, env, live, Want::value_if(of_use));
            }
            Stmt::Assignment(parts) => {
                let (operator, BinaryExpr { lhs, rhs }) = &**parts;
                match lhs {
                    Expr::Variable(name, _, position) => {
                        let how = match operator.get_op_assignment_info() {
                            None => Some(How::Assigned),
                            Some((.., "+=", _, _)) if is_text(rhs) => Some(How::Text),
                            Some(_) => None,
                        };
                        self.assign(&name.1, how, (rhs, *position), env, live);
                    }
                    Expr::Dot(sides, ..) | Expr::Index(sides, ..) => {
                        self.write(sides, rhs, env, live)
                    }
                    _ => self.act(rhs, env, live),
                }
            }
            Stmt::If(parts, _) => {
                let mut other = live.clone();
                self.block(parts.branch.statements(), env, &mut other, want);
                self.block(parts.body.statements(), env, live, want);
                live.append(&mut other);
                self.expression(&parts.expr, env, live, Want::Value);
            }
            Stmt::Switch(parts, _) => {
                let (subject, cases) = &**parts;
                let after = live.clone();
                for case in &cases.expressions {
                    let mut here = after.clone();
                    self.expression(&case.rhs, env, &mut here, want);
                    self.expression(&case.lhs, env, &mut here, Want::Value);
                    live.append(&mut here);
                }
                self.expression(subject, env, live, Want::Value);
            }
            Stmt::While(..) | Stmt::Do(..) => {
                // It may run until a limit or the user ends the run.
                self.acts = true;
                self.repeat(statement, env, live, want);
            }
            Stmt::For(..) => self.repeat(statement, env, live, want),
            Stmt::BreakLoop(value, flags, _) => {
                let Some(around) = self.loops.last() else { return };
                let want = around.want;
                *live = if flags.contains(ASTFlags::BREAK) {
                    around.exit.clone()
                } else {
                    around.head.clone()
                };
                value.iter().for_each(|value| self.expression(value, env, live, want));
            }
            Stmt::Return(value, flags, _) => {
                let throws = flags.contains(ASTFlags::BREAK);
                self.acts |= throws;
                *live = if throws { self.caught.clone() } else { LiveSet::new() };
                let want = if throws { Want::Value } else { Want::Result };
                value.iter().for_each(|value| self.expression(value, env, live, want));
            }
            _ => self.acts = true,
        }
    }

    /// A `try` block, which an error may leave at any statement, and its handler.
    fn attempt(
        &mut self,
        [body, handler]: [&[Stmt]; 2],
        env: &Rc<Env>,
        live: &mut LiveSet,
        want: Want,
    ) {
        let mut caught = live.clone();
        self.block(handler, &self.kinds.joined(body, env), &mut caught, want);
        let around = self.caught.clone();
        self.caught.extend(&caught);
        self.block(body, env, live, want);
        self.caught = around;
        live.append(&mut caught);
    }

    /// A loop. Its live variables on entry are the fixed point over any number of iterations.
    fn repeat(&mut self, statement: &Stmt, env: &Rc<Env>, live: &mut LiveSet, want: Want) {
        let after = live.clone();
        let endless = matches!(statement, Stmt::While(parts, _) if parts.expr.is_unit());
        let mut head = if endless { LiveSet::new() } else { after.clone() };
        let was_quiet = std::mem::replace(&mut self.quiet, true);
        loop {
            let mut here = self.once(statement, env, &head, &after, want);
            if here.is_subset(&head) {
                break;
            }
            head.append(&mut here);
        }
        self.quiet = was_quiet;
        if !self.quiet {
            self.once(statement, env, &head, &after, want);
        }
        *live = head;
        if let Stmt::For(parts, _) = statement {
            self.expression(&parts.2.expr, env, live, Want::Value);
        }
    }

    /// One iteration. Returns the variables live at its start, given those live at the start of the
    /// next (`head`).
    fn once(
        &mut self,
        statement: &Stmt,
        env: &Rc<Env>,
        head: &LiveSet,
        after: &LiveSet,
        want: Want,
    ) -> LiveSet {
        self.loops.push(Loop { exit: after.clone(), head: head.clone(), want });
        let mut live = head.clone();
        match statement {
            Stmt::While(parts, _) => {
                let env = self.kinds.joined(parts.body.statements(), env);
                self.block(parts.body.statements(), &env, &mut live, Want::Nothing);
                if !parts.expr.is_unit() {
                    live.extend(after);
                    self.expression(&parts.expr, &env, &mut live, Want::Value);
                }
            }
            Stmt::Do(parts, ..) => {
                let env = self.kinds.joined(parts.body.statements(), env);
                live.extend(after);
                self.expression(&parts.expr, &env, &mut live, Want::Value);
                self.block(parts.body.statements(), &env, &mut live, Want::Nothing);
            }
            Stmt::For(parts, _) => {
                let (variable, counter, rest) = &**parts;
                let mut env = self.kinds.joined(rest.body.statements(), env);
                // A row of a tensor is a new handle.
                let alias = self.kinds.kind(&rest.expr, &env) == Kind::Alias;
                let row = if alias { Kind::Alias } else { Kind::New };
                let names = std::iter::once((variable, row))
                    .chain(counter.iter().map(|counter| (counter, Kind::New)));
                for (name, kind) in names {
                    env = with(
                        &env,
                        &name.name,
                        self.kinds.binding(&name.name, (&raw const *name).addr(), kind),
                    );
                }
                self.block(rest.body.statements(), &env, &mut live, Want::Nothing);
                live.extend(after);
            }
            _ => {}
        }
        self.loops.pop();
        live
    }

    /// `name = value` or `name op= value`. `how` is `None` for an operator that writes in place.
    fn assign(
        &mut self,
        name: &str,
        how: Option<How>,
        of: (&Expr, Position),
        env: &Rc<Env>,
        live: &mut LiveSet,
    ) {
        let (value, position) = of;
        let Some(own) = env.get(name).copied().filter(|own| own.kind != Kind::Outside) else {
            return self.act(value, env, live);
        };
        let of_use = live.contains(&own.id) || self.caught.contains(&own.id);
        if how.is_none() && own.kind != Kind::New {
            live.insert(own.id);
            return self.act(value, env, live);
        }
        if let Some(how) = how.filter(|_| !of_use && name == self.x) {
            self.lose(how, value, position);
        }
        if how == Some(How::Assigned) && !self.caught.contains(&own.id) {
            live.remove(&own.id);
        }
        self.expression(value, env, live, Want::value_if(of_use));
    }

    /// `root… = value`.
    fn write(&mut self, target: &BinaryExpr, value: &Expr, env: &Rc<Env>, live: &mut LiveSet) {
        let own = match &target.lhs {
            Expr::Variable(name, ..) => env.get(name.1.as_str()).copied(),
            _ => None,
        };
        let want = match own {
            Some(Binding { id, kind: Kind::New }) => Want::value_if(live.contains(&id)),
            _ => {
                self.acts = true;
                live.extend(own.map(|own| own.id));
                Want::Value
            }
        };
        self.link(&target.rhs, env, live, want);
        if own.is_none() {
            self.expression(&target.lhs, env, live, want);
        }
        self.expression(value, env, live, want);
    }

    /// A value that is stored somewhere that outlives the call.
    fn act(&mut self, value: &Expr, env: &Rc<Env>, live: &mut LiveSet) {
        self.acts = true;
        self.expression(value, env, live, Want::Value);
    }

    fn expression(&mut self, expression: &Expr, env: &Rc<Env>, live: &mut LiveSet, want: Want) {
        match expression {
            Expr::Stmt(block) => return self.block(block.statements(), env, live, want),
            Expr::FnCall(call, _) => return self.call(call, env, live, want),
            // `try`, which is custom syntax with two blocks as inputs.
            Expr::Custom(tried, _) => {
                return match tried.inputs.as_slice() {
                    [Expr::Stmt(body), Expr::Stmt(handler)] => {
                        self.attempt([body.statements(), handler.statements()], env, live, want);
                    }
                    _ => self.acts = true,
                };
            }
            Expr::Dot(sides, ..) => {
                if let Some((own, call)) = filled(sides, env) {
                    let want = Want::value_if(live.contains(&own));
                    return call
                        .args
                        .iter()
                        .rev()
                        .for_each(|argument| self.expression(argument, env, live, want));
                }
            }
            _ => {}
        }
        self.acts |= want == Want::Result && !expression.is_unit();
        let want = want.parts();
        match expression {
            Expr::Variable(name, ..) if want == Want::Value => {
                live.extend(env.get(name.1.as_str()).map(|own| own.id));
            }
            Expr::Array(items, _) | Expr::InterpolatedString(items, _) => {
                items.iter().rev().for_each(|item| self.expression(item, env, live, want));
            }
            Expr::Map(items, _) => {
                items.0.iter().rev().for_each(|(_, item)| self.expression(item, env, live, want))
            }
            Expr::And(items, _) | Expr::Or(items, _) | Expr::Coalesce(items, _) => {
                let Some((first, rest)) = items.split_first() else { return };
                for item in rest.iter().rev() {
                    // The operand may not be evaluated.
                    let mut reached = live.clone();
                    self.expression(item, env, &mut reached, want);
                    live.append(&mut reached);
                }
                self.expression(first, env, live, want);
            }
            Expr::Dot(sides, ..) | Expr::Index(sides, ..) => self.chain(sides, env, live, want),
            Expr::Variable(..) | Expr::Property(..) | Expr::DynamicConstant(..) => {}
            constant => self.acts |= !constant.is_constant(),
        }
    }

    /// `root.method(…)`, `root.property`, `root[…]`, and longer chains.
    fn chain(&mut self, sides: &BinaryExpr, env: &Rc<Env>, live: &mut LiveSet, want: Want) {
        let acted = std::mem::replace(&mut self.acts, false);
        self.link(&sides.rhs, env, live, want);
        let want = if self.acts { Want::Value } else { want };
        self.acts |= acted;
        self.expression(&sides.lhs, env, live, want);
    }

    /// The part of a chain after its root, index expressions included.
    fn link(&mut self, link: &Expr, env: &Rc<Env>, live: &mut LiveSet, want: Want) {
        match link {
            Expr::Property(..) => {}
            Expr::MethodCall(call, _) => self.call(call, env, live, want),
            Expr::Dot(sides, ..) | Expr::Index(sides, ..) => {
                self.link(&sides.rhs, env, live, want);
                self.link(&sides.lhs, env, live, want);
            }
            place => self.expression(place, env, live, want),
        }
    }

    fn call(&mut self, call: &FnCallExpr, env: &Rc<Env>, live: &mut LiveSet, want: Want) {
        let computes = self.kinds.computes(call) || call.name == "curry";
        self.acts |= !computes || want == Want::Result;
        let want = if computes { want.parts() } else { Want::Value };
        call.args.iter().rev().for_each(|argument| self.expression(argument, env, live, want));
    }

    fn lose(&mut self, how: How, value: &Expr, position: Position) {
        if !self.quiet {
            self.lost.push(Lost::new(how, self.x, value, position));
        }
    }
}

/// A call that only writes into an array or map that the hook made: the variable's id, and the
/// call.
fn filled<'e>(sides: &'e BinaryExpr, env: &Env) -> Option<(usize, &'e FnCallExpr)> {
    let (Expr::Variable(name, ..), Expr::MethodCall(call, _)) = (&sides.lhs, &sides.rhs) else {
        return None;
    };
    let own = env.get(name.1.as_str()).filter(|own| own.kind == Kind::New)?;
    FILLS.contains(&call.name.as_str()).then_some((own.id, call))
}

/// Whether an expression's value is certainly a string.
fn is_text(expression: &Expr) -> bool {
    match expression {
        Expr::StringConstant(..) | Expr::InterpolatedString(..) | Expr::CharConstant(..) => true,
        Expr::FnCall(call, _) if call.name == "+" => call.args.iter().any(is_text),
        _ => false,
    }
}
