//! Loads and stores of vectors: dense ones, ones with a stride, and ones of the first lanes only.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::mem::Reg;

use super::forms::{spelled, stored_scalar, wide};
use super::function::{Emit, lane_numbers};

impl Emit<'_> {
    /// The address of an element.
    pub(super) fn address(&mut self, memory: &Symbol, offset: &Dim) -> String {
        let offset = self.index(offset);
        let place = &self.memories[memory];
        let (base, element) = (place.base.clone(), stored_scalar(place.dtype));
        self.line(format_args!("getelementptr {element}, ptr {base}, i64 {offset}"))
    }

    /// What accesses to a buffer are marked with.
    pub(super) fn marks(&self, memory: &Symbol) -> String {
        let place = &self.memories[memory];
        let constant = if place.constant { ", !invariant.load !0" } else { "" };
        format!("{}{constant}", place.scope)
    }

    /// Elements as they lie in memory.
    pub(super) fn load(
        &mut self,
        memory: &Symbol,
        offset: &Dim,
        stride: &Dim,
        active: Option<&Dim>,
        lanes: u32,
    ) -> String {
        let element = stored_scalar(self.memories[memory].dtype);
        let bytes = self.memories[memory].dtype.bits() / 8;
        let (address, marks) = (self.address(memory, offset), self.marks(memory));
        let ty = wide(element, lanes);
        if let Some(active) = active
            && self.kept.buffers.contains_key(memory)
        {
            // A tile in registers has whole vectors everywhere, and no masked access may take it out of them.
            let whole = self.load(memory, offset, stride, None, lanes);
            let mask = self.first_lanes(active, lanes);
            let bits = wide("i1", lanes);
            return self.line(format_args!("select {bits} {mask}, {ty} {whole}, {ty} zeroinitializer"));
        }
        if let Some(active) = active {
            let mask = self.first_lanes(active, lanes);
            let bits = wide("i1", lanes);
            if lanes == 1 {
                return self.load_if(element, bytes, &address, &mask, &marks);
            }
            let zero = "zeroinitializer";
            if stride.is(1) {
                let name = format!("llvm.masked.load.{}.p0", spelled(element, lanes));
                self.module.declare(&name, &ty, &format!("ptr, {bits}, {ty}"), "");
                return self.line(format_args!(
                    "call {ty} @{name}(ptr align {bytes} {address}, {bits} {mask}, {ty} {zero}){marks}"
                ));
            }
            let pointers = self.pointers(element, &address, stride, lanes);
            let name = format!("llvm.masked.gather.{}.v{lanes}p0", spelled(element, lanes));
            let many = wide("ptr", lanes);
            self.module.declare(&name, &ty, &format!("{many}, {bits}, {ty}"), "");
            return self.line(format_args!(
                "call {ty} @{name}({many} align {bytes} {pointers}, {bits} {mask}, {ty} {zero}){marks}"
            ));
        }
        if stride.is(1) || lanes == 1 {
            return self.line(format_args!("load {ty}, ptr {address}, align {bytes}{marks}"));
        }
        if stride.is(0) {
            let one = self.line(format_args!("load {element}, ptr {address}, align {bytes}{marks}"));
            return self.splat(element, &one, lanes);
        }
        let step = self.index(stride);
        let mut at = address;
        let mut all = Vec::with_capacity(lanes as usize);
        for lane in 0..lanes {
            if lane > 0 {
                at = self.line(format_args!("getelementptr {element}, ptr {at}, i64 {step}"));
            }
            all.push(self.line(format_args!("load {element}, ptr {at}, align {bytes}{marks}")));
        }
        self.assemble(element, &all)
    }

    /// A scalar, or zero if it must not be read.
    fn load_if(&mut self, element: &str, bytes: u32, address: &str, mask: &str, marks: &str) -> String {
        let id = self.fresh("");
        let before = self.current();
        self.effect(format_args!("br i1 {mask}, label %read{id}, label %after{id}"));
        self.start(&format!("read{id}"));
        let value = self.line(format_args!("load {element}, ptr {address}, align {bytes}{marks}"));
        self.effect(format_args!("br label %after{id}"));
        self.start(&format!("after{id}"));
        let zero = "zeroinitializer";
        self.line(format_args!("phi {element} [ {zero}, %{before} ], [ {value}, %read{id} ]"))
    }

    /// Writes a register.
    pub(super) fn store(
        &mut self,
        memory: &Symbol,
        offset: &Dim,
        stride: &Dim,
        value: Reg,
        active: Option<&Dim>,
    ) {
        let lanes = self.program.ty(value).lanes;
        let dtype = self.memories[memory].dtype;
        let (element, bytes) = (stored_scalar(dtype), dtype.bits() / 8);
        let (address, marks) = (self.address(memory, offset), self.marks(memory));
        let value = self.read(value);
        let value = self.as_stored(&value, dtype, lanes);
        let ty = wide(element, lanes);
        if let Some(active) = active {
            let mask = self.first_lanes(active, lanes);
            if lanes == 1 {
                let id = self.fresh("");
                self.effect(format_args!("br i1 {mask}, label %write{id}, label %after{id}"));
                self.start(&format!("write{id}"));
                self.effect(format_args!("store {ty} {value}, ptr {address}, align {bytes}{marks}"));
                self.effect(format_args!("br label %after{id}"));
                self.start(&format!("after{id}"));
                return;
            }
            let (bits, many) = (wide("i1", lanes), wide("ptr", lanes));
            if stride.is(1) {
                let name = format!("llvm.masked.store.{}.p0", spelled(element, lanes));
                self.module.declare(&name, "void", &format!("{ty}, ptr, {bits}"), "");
                self.effect(format_args!(
                    "call void @{name}({ty} {value}, ptr align {bytes} {address}, {bits} {mask}){marks}"
                ));
                return;
            }
            let pointers = self.pointers(element, &address, stride, lanes);
            let name = format!("llvm.masked.scatter.{}.v{lanes}p0", spelled(element, lanes));
            self.module.declare(&name, "void", &format!("{ty}, {many}, {bits}"), "");
            self.effect(format_args!(
                "call void @{name}({ty} {value}, {many} align {bytes} {pointers}, {bits} {mask}){marks}"
            ));
            return;
        }
        if stride.is(1) || lanes == 1 {
            self.effect(format_args!("store {ty} {value}, ptr {address}, align {bytes}{marks}"));
            return;
        }
        let step = self.index(stride);
        let mut at = address;
        for lane in 0..lanes {
            if lane > 0 {
                at = self.line(format_args!("getelementptr {element}, ptr {at}, i64 {step}"));
            }
            let one = self.lane(element, &value, lanes, lane);
            self.effect(format_args!("store {element} {one}, ptr {at}, align {bytes}{marks}"));
        }
    }

    /// A mask of so many first lanes.
    pub(super) fn first_lanes(&mut self, active: &Dim, lanes: u32) -> String {
        let count = self.index(active);
        self.lanes_below(&count, 0, lanes)
    }

    /// A mask of the lanes whose number, counted from `first`, is below a count.
    pub(super) fn lanes_below(&mut self, count: &str, first: u32, lanes: u32) -> String {
        let ty = wide("i64", lanes);
        let count =
            if first == 0 { count.to_owned() } else { self.line(format_args!("sub i64 {count}, {first}")) };
        let count = self.splat("i64", &count, lanes);
        self.line(format_args!("icmp slt {ty} {}, {count}", lane_numbers(lanes)))
    }

    /// Addresses a stride apart.
    fn pointers(&mut self, element: &str, address: &str, stride: &Dim, lanes: u32) -> String {
        let step = self.index(stride);
        let step = self.splat("i64", &step, lanes);
        let ty = wide("i64", lanes);
        let offsets = self.line(format_args!("mul {ty} {step}, {}", lane_numbers(lanes)));
        self.line(format_args!("getelementptr {element}, ptr {address}, {ty} {offsets}"))
    }
}
