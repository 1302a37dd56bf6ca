//! Choosing, placing and moving elements: `t[…]`, gather and scatter, shapes.

pub mod gather;
pub mod shape;
pub mod subscript;
