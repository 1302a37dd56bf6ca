//! Which tensors stood at which points, of those that belong to a graph of gradients: so that a
//! gradient on its way back can be told by its point.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use candle_core::{Tensor, TensorId};

use super::Site;

/// How many tensors are remembered: those of a few passes of a large model.
const MOST: usize = 1 << 14;

thread_local! {
    static STOOD: RefCell<(HashMap<TensorId, Site>, VecDeque<TensorId>)> = RefCell::default();
}

/// Notes that `x` stands at a site, after its hooks. What stands unchanged at several points one after the
/// other is told by the first.
pub fn note(x: &Tensor, site: Site) {
    if !x.track_op() {
        return;
    }
    STOOD.with_borrow_mut(|(sites, order)| {
        let Entry::Vacant(vacant) = sites.entry(x.id()) else { return };
        vacant.insert(site);
        order.push_back(x.id());
        if order.len() > MOST
            && let Some(oldest) = order.pop_front()
        {
            sites.remove(&oldest);
        }
    });
}

/// The site at which a tensor stood.
pub fn site_of(tensor: TensorId) -> Option<Site> {
    STOOD.with_borrow(|(sites, _)| sites.get(&tensor).copied())
}
