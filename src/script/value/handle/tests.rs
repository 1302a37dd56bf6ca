//! Copies on their way from a GPU, and what waits for them.

use std::cell::Cell;

use candle_core::{DType, Device};
use rhai::Dynamic;

use super::*;
use crate::bail;
use crate::script::{Host, Settings};

/// A handle of zeros [4, 2], and a count of what has landed in it; each assignment is on its
/// way until someone waits.
fn awaiting(rows: &[i64]) -> (Handle, Rc<Cell<usize>>) {
    let handle = Handle::from(Tensor::zeros((4, 2), DType::F32, &Device::Cpu).unwrap());
    let landed = Rc::new(Cell::new(0));
    for &row in rows {
        let count = landed.clone();
        let part: Box<dyn FnOnce() -> Result<Tensor>> = Box::new(move || {
            count.set(count.get() + 1);
            Ok((Tensor::ones(2, DType::F32, &Device::Cpu)? * row as f64)?)
        });
        let mut slot = handle.0.borrow_mut();
        let arrival = PendingWrite::new(&slot.value, &[Index::At(row)], vec![part]).unwrap();
        slot.await_arrival(arrival).unwrap();
    }
    (handle, landed)
}

fn sum(value: &Value) -> f32 {
    value.parts()[0].sum_all().unwrap().to_scalar().unwrap()
}

#[test]
fn what_is_on_its_way_is_waited_for_by_whoever_reads() {
    let (handle, landed) = awaiting(&[1, 3]);
    assert_eq!(landed.get(), 0);
    assert_eq!((sum(&handle.value()), landed.get()), (8.0, 2));
    let (handle, landed) = awaiting(&[2]);
    assert_eq!((sum(&handle.lend()), landed.get()), (4.0, 1));
    let (handle, landed) = awaiting(&[2]);
    let frozen = handle.freeze();
    assert_eq!((sum(&Handle::thawed(&frozen).unwrap().value()), landed.get()), (4.0, 1));
}

#[test]
fn writes_land_in_their_order_and_few_are_on_their_way_at_a_time() {
    let (handle, landed) = awaiting(&[1, 1, 1, 1, 1]);
    assert_eq!(landed.get(), 2);
    handle.assign(&[Index::At(1)], Operand::from(7.0)).unwrap();
    assert_eq!((sum(&handle.value()), landed.get()), (14.0, 5));
}

#[test]
fn what_did_not_arrive_ends_the_run_and_nothing_made_of_it_leaves() {
    let lost = || {
        // As a run does when it begins: what is made after a failure is as lost as what failed.
        interrupt::clear();
        let (handle, _) = awaiting(&[1]);
        let gone: Box<dyn FnOnce() -> Result<Tensor>> = Box::new(|| bail!("the driver is gone"));
        let arrival =
            PendingWrite::new(&handle.0.borrow().value, &[Index::At(2)], vec![gone]).unwrap();
        handle.0.borrow_mut().await_arrival(arrival).unwrap();
        handle
    };
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let host = Host::new(Settings { out: Some(out.clone()), ..Settings::default() }).unwrap();
    for script in [
        "save(\"t\", t)",
        "try { save(\"t.json\", t); } catch {} 1",
        "t.sum().item()",
        "t.shape",
        "try { let n = t.sum().item(); print(n); } catch {} 1",
        "let u = t + 1; t[2] = 0.0; u",
        "t[2] = 0.0; t",
        "for row in t {} 1",
        "plot(#{y: t[0], name: \"p\"})",
    ] {
        let failure = host.ask(script, [("t", Dynamic::from(lost()))]).unwrap_err();
        let said = "a copy on its way from the GPU did not arrive: the driver is gone";
        assert!(failure.message().ends_with(said), "{script} {failure}");
    }
    assert_eq!(std::fs::read_dir(&out).map_or(0, Iterator::count), 0);
    // What did not arrive is not there in the next piece either; all else goes on.
    let handle = lost();
    assert!(host.ask("t + 1", [("t", Dynamic::from(handle.clone()))]).is_err());
    assert!(host.ask("t.item()", [("t", Dynamic::from(handle))]).is_err());
    assert_eq!(host.eval("1 + 1").unwrap().as_int(), Ok(2));
}

#[test]
fn what_was_read_before_does_not_change() {
    let (handle, _) = awaiting(&[1]);
    let before = handle.lend();
    let arrival = PendingWrite::new(
        &handle.0.borrow().value,
        &[Index::At(0)],
        vec![Box::new(|| Ok(Tensor::ones(2, DType::F32, &Device::Cpu)?))],
    );
    handle.0.borrow_mut().await_arrival(arrival.unwrap()).unwrap();
    assert_eq!((sum(&handle.value()), sum(&before)), (4.0, 2.0));
}
