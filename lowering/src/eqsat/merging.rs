//! Merging places that share operands: one application of a pattern to joined operands, of which each place is
//! a slice.
//!
//! A rule that merges says which variables may differ from place to place and along which axes they are
//! joined. All places that agree in the others are merged at once, so that three projections of one value
//! need no second round. A place that a merge made is merged no further.

use egg::{Id, Searcher, Subst};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Attrs, Ints, Op};
use tcc_ir::shape::Shape;

use super::facts::{Egraph, attr_of, type_of};
use super::language::ENode;
use super::matching::{Search, add_attr, apply};
use super::rule::{Merging, Rule, RuleSet};
use super::saturate::{Growth, Origins, unite};

/// More places than this are not merged to one.
const MOST: usize = 64;

/// What is remembered from one round of merging to the next.
#[derive(Default)]
pub(super) struct Merger {
    /// Rules with the places that they merged.
    seen: FxHashSet<(usize, Vec<Id>)>,
    /// What merges made.
    made: Vec<Id>,
}

/// A place of a pattern.
struct Place<'s> {
    search: &'s Search,
    subst: Subst,
    root: Id,
    vars: SmallVec<[Id; 8]>,
}

/// Places that agree in all that a rule wants them to agree in.
struct Group<'s> {
    search: &'s Search,
    places: Vec<Place<'s>>,
}

/// A rule, the ops of its families, and the classes of the variables that agree.
type Key = (usize, SmallVec<[Op; 1]>, SmallVec<[Id; 8]>);

impl Merger {
    /// Applies the rules that merge, each to all places that there are. Says whether there were any.
    pub(super) fn merge(
        &mut self,
        egraph: &mut Egraph,
        set: &RuleSet,
        searches: &[Search],
        origins: &mut Origins,
        growth: &mut [Growth],
        allow: &mut dyn FnMut() -> bool,
    ) -> bool {
        let mut changed = false;
        for group in self.groups(egraph, set, searches) {
            let rule = &set.rules[group.search.rule];
            let Some(merging) = &rule.merging else { continue };
            let roots: Vec<Id> = group.places.iter().map(|p| p.root).collect();
            if !self.seen.insert((group.search.rule, roots)) {
                continue;
            }
            if !allow() {
                break;
            }
            let mut nodes = Vec::new();
            let slices = merged(egraph, rule, merging, &group, &mut |node| nodes.push(node.clone()));
            let growth = &mut growth[group.search.rule];
            growth.nodes += nodes.len();
            nodes.iter().for_each(|node| origins.note(node, group.search.rule));
            let Some((whole, slices)) = slices else { continue };
            self.made.push(whole);
            growth.applied += 1;
            for (place, slice) in group.places.iter().zip(&slices) {
                let id = egraph.add(slice.clone());
                growth.united += usize::from(unite(egraph, place.root, id, place.search, &place.subst, rule));
            }
            origins.groups.push(slices);
            changed = true;
        }
        changed
    }

    fn groups<'s>(&self, egraph: &Egraph, set: &RuleSet, searches: &'s [Search]) -> Vec<Group<'s>> {
        let made: FxHashSet<Id> = self.made.iter().map(|id| egraph.find(*id)).collect();
        let mut groups: Vec<Group<'s>> = Vec::new();
        let mut known: FxHashMap<Key, usize> = FxHashMap::default();
        for search in searches {
            let rule = &set.rules[search.rule];
            let Some(merging) = &rule.merging else { continue };
            for found in search.pattern.search(egraph) {
                let root = egraph.find(found.eclass);
                if made.contains(&root) || egraph[root].data.constant {
                    continue;
                }
                for subst in &found.substs {
                    let vars: SmallVec<[Id; 8]> =
                        search.bound(rule, subst).iter().map(|id| egraph.find(*id)).collect();
                    if search.instance(egraph, rule, root, subst, &vars).is_none() {
                        continue;
                    }
                    let agree = |i: &usize| merging.over.iter().all(|(over, _)| over != i);
                    let key = (0..vars.len()).filter(agree).map(|i| vars[i]).collect();
                    let key: Key = (search.rule, search.family().collect(), key);
                    let at = *known.entry(key).or_insert_with(|| {
                        groups.push(Group { search, places: Vec::new() });
                        groups.len() - 1
                    });
                    let places = &mut groups[at].places;
                    if places.len() < MOST && places.iter().all(|p| p.root != root) {
                        places.push(Place { search, subst: subst.clone(), root, vars });
                    }
                }
            }
        }
        groups.retain(|g| g.places.len() > 1);
        groups.iter_mut().for_each(|g| g.places.sort_by_key(|p| p.root));
        groups
    }
}

/// The pattern applied to what the places of a group have joined, and each place as a slice of it.
fn merged(
    egraph: &mut Egraph,
    rule: &Rule,
    merging: &Merging,
    group: &Group<'_>,
    made: &mut dyn FnMut(&ENode),
) -> Option<(Id, Vec<ENode>)> {
    let (search, places) = (group.search, &group.places);
    // Only an axis that all places name alike.
    let axis_of = |egraph: &Egraph, expr| {
        let axis = |place: &Place<'_>| match search.eval(egraph, &place.vars, expr) {
            Some(Attr::Int(axis)) => usize::try_from(axis).ok(),
            _ => None,
        };
        let first = axis(&places[0])?;
        places.iter().all(|p| axis(p) == Some(first)).then_some(first)
    };
    let along = axis_of(egraph, &merging.along)?;
    let axes: Vec<usize> =
        merging.over.iter().map(|(_, expr)| axis_of(egraph, expr)).collect::<Option<_>>()?;
    let mut vars = places[0].vars.clone();
    for ((over, _), axis) in merging.over.iter().zip(axes) {
        let classes: SmallVec<[Id; 4]> = places.iter().map(|p| p.vars[*over]).collect();
        vars[*over] = match attr_of(egraph, classes[0]) {
            Some(_) => added(egraph, &classes, axis)?,
            None => apply(egraph, Op::Concat, Attrs::from_iter([Attr::Int(axis as i64)]), &classes, made)?,
        };
    }
    let whole = search.template(egraph, rule, &vars)?;
    let extents: Vec<Shape> =
        places.iter().map(|p| Some(type_of(egraph, p.root)?.shape.clone())).collect::<Option<_>>()?;
    let total = extents.iter().fold(Dim::ZERO, |sum, shape| &sum + &shape[along]);
    if !egraph.analysis.ranges.equal(&whole.ty().shape[along], &total) {
        return None;
    }
    let whole = whole.add(egraph, made);
    let mut start = Dim::ZERO;
    let mut slices = Vec::with_capacity(places.len());
    for sizes in extents {
        let starts: Shape =
            (0..sizes.rank()).map(|i| if i == along { start.clone() } else { Dim::ZERO }).collect();
        let steps = Ints::from_iter(std::iter::repeat_n(1, sizes.rank()));
        start = &start + &sizes[along];
        let attrs = [Attr::Dims(starts), Attr::Dims(sizes), Attr::Ints(steps)];
        let mut children: super::language::Children = attrs.iter().map(|a| add_attr(egraph, a)).collect();
        children.push(whole);
        let node = ENode { head: super::language::Head::Op(Op::Slice), children };
        if egraph.lookup(node.clone()).is_none() {
            made(&node);
        }
        slices.push(node);
    }
    Some((whole, slices))
}

/// Extents with those along an axis added up.
fn added(egraph: &mut Egraph, classes: &[Id], axis: usize) -> Option<Id> {
    let shape = |id: &Id| match attr_of(egraph, *id) {
        Some(Attr::Dims(shape)) if axis < shape.rank() => Some(shape.clone()),
        _ => None,
    };
    let shapes: Vec<Shape> = classes.iter().map(shape).collect::<Option<_>>()?;
    let sum = shapes.iter().fold(Dim::ZERO, |sum, shape| &sum + &shape[axis]);
    let same =
        |s: &Shape| s.rank() == shapes[0].rank() && s.with(axis, Dim::ONE) == shapes[0].with(axis, Dim::ONE);
    let all_agree = shapes.iter().all(same);
    all_agree.then(|| add_attr(egraph, &Attr::Dims(shapes[0].with(axis, sum))))
}
