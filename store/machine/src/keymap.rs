//! An ordered map from byte strings, made for millions of short keys: a B+ tree whose nodes hold
//! their keys packed and whose inner nodes know the weight below each child.
//!
//! The weight makes counting a range a matter of two descents instead of a walk (etcd issues 11057,
//! 16510). Knows nothing of revisions; `mvcc` uses it as key index, `lease` for attached keys.

mod packed;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use packed::PackedKeys;

/// Entries of a leaf, children of an inner node. 64: a leaf of short keys is a few KiB, which an
/// insertion moves within the cost of the cache misses that found it, and a million keys are four
/// levels.
const FANOUT_MAX: usize = 64;

/// A node that has fallen below this is joined with a neighbour if they fit. A quarter: far enough
/// from a half that a node just split or joined is not soon joined or split again.
const FANOUT_LOW: usize = FANOUT_MAX / 4;

/// Spare room taken when the values of a node are full; see `packed`.
const VALUES_STEP: usize = 16;

/// What an entry counts for in [`KeyMap::weight_below`].
pub(crate) trait Weigh {
    /// Its weight, 0 or 1.
    fn weight(&self) -> u64;
}

impl Weigh for () {
    fn weight(&self) -> u64 {
        1
    }
}

/// The map. `V::default()` only fills the place of a value while it is being changed.
#[derive(Clone)]
pub(crate) struct KeyMap<V> {
    root: Node<V>,
    weight: u64,
}

#[derive(Clone)]
enum Node<V> {
    Leaf(Box<Leaf<V>>),
    Inner(Box<Inner<V>>),
}

#[derive(Clone)]
struct Leaf<V> {
    keys: PackedKeys,
    values: Vec<V>,
}

#[derive(Clone)]
struct Inner<V> {
    /// The smallest key that may stand in each child but the first.
    bounds: PackedKeys,
    children: Vec<Child<V>>,
}

#[derive(Clone)]
struct Child<V> {
    node: Node<V>,
    /// Sum of the weights below.
    weight: u64,
}

/// A node that became too large gives its upper part to a new right neighbour.
struct Split<V> {
    bound: Vec<u8>,
    right: Child<V>,
}

impl<V: Weigh + Default> KeyMap<V> {
    pub(crate) fn new() -> Self {
        Self {
            root: Node::Leaf(Box::new(Leaf::empty())),
            weight: 0,
        }
    }

    /// Sum of all weights.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    return leaf
                        .keys
                        .search(key)
                        .ok()
                        .map(|position| &leaf.values[position]);
                }
                Node::Inner(inner) => node = &inner.children[inner.child_of(key)].node,
            }
        }
    }

    /// Changes, adds or removes the entry of `key`: `change` sees what is there and leaves what
    /// shall be there.
    pub(crate) fn update<R>(&mut self, key: &[u8], change: impl FnOnce(&mut Option<V>) -> R) -> R {
        let (result, split) = self.root.update(key, true, &mut self.weight, change);
        if let Some(split) = split {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Box::new(Leaf::empty())));
            let left = Child {
                node: left,
                weight: self.weight - split.right.weight,
            };
            let mut bounds = PackedKeys::default();
            bounds.insert(0, &split.bound);
            self.root = Node::Inner(Box::new(Inner {
                bounds,
                children: vec![left, split.right],
            }));
        }
        self.flatten();
        result
    }

    /// Takes away inner nodes at the top that hold a single child, or none.
    fn flatten(&mut self) {
        while let Node::Inner(inner) = &mut self.root
            && inner.children.len() <= 1
        {
            self.root = match inner.children.pop() {
                Some(only) => only.node,
                None => Node::Leaf(Box::new(Leaf::empty())),
            };
        }
    }

    /// Visits the entries from `from` on in order, until told to stop.
    pub(crate) fn walk(&self, from: &[u8], mut visit: impl FnMut(&[u8], &V) -> ControlFlow<()>) {
        let _ = self.root.walk(from, &mut visit);
    }

    /// Visits the entries before `before` (`None`: all) from the last to the first.
    pub(crate) fn walk_back(
        &self,
        before: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &V) -> ControlFlow<()>,
    ) {
        let _ = self.root.walk_back(before, &mut visit);
    }

    /// As [`KeyMap::walk`]; `visit` may change values but not their weights.
    pub(crate) fn walk_mut(
        &mut self,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &mut V) -> ControlFlow<()>,
    ) {
        let _ = self.root.walk_mut(from, &mut visit);
    }

    /// Sum of the weights of all keys that sort before `key`.
    pub(crate) fn weight_below(&self, key: &[u8]) -> u64 {
        let mut below = 0;
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => {
                    let position = leaf.keys.search(key).unwrap_or_else(|position| position);
                    return below + leaf.values[..position].iter().map(V::weight).sum::<u64>();
                }
                Node::Inner(inner) => {
                    let position = inner.child_of(key);
                    below += inner.children[..position]
                        .iter()
                        .map(|c| c.weight)
                        .sum::<u64>();
                    node = &inner.children[position].node;
                }
            }
        }
    }
}

impl<V: Weigh + Default> Node<V> {
    /// Entries or children.
    fn len(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.values.len(),
            Self::Inner(inner) => inner.children.len(),
        }
    }

    /// `rightmost`: no key of the map sorts behind this node's. Keeps `weight`, which is the
    /// node's, right.
    fn update<R>(
        &mut self,
        key: &[u8],
        rightmost: bool,
        weight: &mut u64,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> (R, Option<Split<V>>) {
        match self {
            Self::Leaf(leaf) => leaf.update(key, rightmost, weight, change),
            Self::Inner(inner) => inner.update(key, rightmost, weight, change),
        }
    }

    fn walk(
        &self,
        from: &[u8],
        visit: &mut impl FnMut(&[u8], &V) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Leaf(leaf) => {
                let first = leaf.keys.search(from).unwrap_or_else(|position| position);
                for (position, value) in leaf.values.iter().enumerate().skip(first) {
                    visit(leaf.keys.get(position), value)?;
                }
            }
            Self::Inner(inner) => {
                for child in &inner.children[inner.child_of(from)..] {
                    child.node.walk(from, visit)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn walk_mut(
        &mut self,
        from: &[u8],
        visit: &mut impl FnMut(&[u8], &mut V) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Leaf(leaf) => {
                let first = leaf.keys.search(from).unwrap_or_else(|position| position);
                for (position, value) in leaf.values.iter_mut().enumerate().skip(first) {
                    visit(leaf.keys.get(position), value)?;
                }
            }
            Self::Inner(inner) => {
                let first = inner.child_of(from);
                for child in &mut inner.children[first..] {
                    child.node.walk_mut(from, visit)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn walk_back(
        &self,
        before: Option<&[u8]>,
        visit: &mut impl FnMut(&[u8], &V) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Leaf(leaf) => {
                let end = before.map_or(leaf.values.len(), |before| {
                    leaf.keys.search(before).unwrap_or_else(|position| position)
                });
                for (position, value) in leaf.values[..end].iter().enumerate().rev() {
                    visit(leaf.keys.get(position), value)?;
                }
            }
            Self::Inner(inner) => {
                let last = before.map_or(inner.children.len() - 1, |before| inner.child_of(before));
                for child in inner.children[..=last].iter().rev() {
                    child.node.walk_back(before, visit)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Takes over everything of the right neighbour, whose keys start at `bound`.
    fn join(&mut self, bound: &[u8], right: Self) {
        match (self, right) {
            (Self::Leaf(left), Self::Leaf(right)) => {
                left.keys.append(&right.keys);
                left.values.reserve_exact(right.values.len());
                left.values.extend(right.values);
            }
            (Self::Inner(left), Self::Inner(right)) => {
                left.bounds.insert(left.bounds.len(), bound);
                left.bounds.append(&right.bounds);
                left.children.extend(right.children);
            }
            // All leaves are equally deep, so neighbours are of one kind.
            (Self::Leaf(_), Self::Inner(_)) | (Self::Inner(_), Self::Leaf(_)) => {
                debug_assert!(false, "a leaf beside an inner node");
            }
        }
    }
}

impl<V: Weigh + Default> Leaf<V> {
    fn empty() -> Self {
        Self {
            keys: PackedKeys::default(),
            values: Vec::new(),
        }
    }

    fn update<R>(
        &mut self,
        key: &[u8],
        rightmost: bool,
        weight: &mut u64,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> (R, Option<Split<V>>) {
        let found = self.keys.search(key);
        let mut value = found
            .ok()
            .map(|position| std::mem::take(&mut self.values[position]));
        *weight -= value.as_ref().map_or(0, V::weight);
        let result = change(&mut value);
        *weight += value.as_ref().map_or(0, V::weight);
        match (found, value) {
            (Ok(position), Some(value)) => self.values[position] = value,
            (Ok(position), None) => {
                self.keys.remove(position);
                self.values.remove(position);
            }
            (Err(position), Some(value)) => {
                if self.values.len() == FANOUT_MAX {
                    return (
                        result,
                        Some(self.split_insert(position, key, value, rightmost)),
                    );
                }
                self.insert(position, key, value);
            }
            (Err(_), None) => {}
        }
        (result, None)
    }

    fn insert(&mut self, position: usize, key: &[u8], value: V) {
        self.keys.insert(position, key);
        if self.values.len() == self.values.capacity() {
            self.values.reserve_exact(VALUES_STEP);
        }
        self.values.insert(position, value);
    }

    /// Splits a full leaf around a new entry: in the middle, or, when keys arrive in order at the
    /// end of the map, behind everything, which leaves full leaves behind.
    fn split_insert(&mut self, position: usize, key: &[u8], value: V, rightmost: bool) -> Split<V> {
        let len = self.values.len();
        let middle = if rightmost && position == len {
            len
        } else {
            len / 2
        };
        let mut right = Self {
            keys: self.keys.split_off(middle),
            values: self.values.split_off(middle),
        };
        self.values.shrink_to_fit();
        if position < middle {
            self.insert(position, key, value);
        } else {
            right.insert(position - middle, key, value);
        }
        let weight = right.values.iter().map(V::weight).sum();
        let bound = right.keys.get(0).to_vec();
        Split {
            bound,
            right: Child {
                node: Node::Leaf(Box::new(right)),
                weight,
            },
        }
    }
}

impl<V: Weigh + Default> Inner<V> {
    /// Which child `key` belongs to.
    fn child_of(&self, key: &[u8]) -> usize {
        match self.bounds.search(key) {
            Ok(position) => position + 1,
            Err(position) => position,
        }
    }

    fn update<R>(
        &mut self,
        key: &[u8],
        rightmost: bool,
        weight: &mut u64,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> (R, Option<Split<V>>) {
        let position = self.child_of(key);
        let rightmost = rightmost && position == self.children.len() - 1;
        let child = &mut self.children[position];
        let before = child.weight;
        let len_before = child.node.len();
        let (result, split) = child.node.update(key, rightmost, &mut child.weight, change);
        *weight = *weight - before + child.weight;
        if let Some(split) = split {
            child.weight -= split.right.weight;
            self.bounds.insert(position, &split.bound);
            self.children.insert(position + 1, split.right);
        } else if child.node.len() == 0 {
            self.remove_empty(position);
        } else if child.node.len() < len_before.min(FANOUT_LOW) {
            self.join_small(position);
        }
        (
            result,
            (self.children.len() > FANOUT_MAX).then(|| self.split(rightmost)),
        )
    }

    fn split(&mut self, rightmost: bool) -> Split<V> {
        // As with leaves; two children at least, because one alone would need no inner node.
        let middle = if rightmost {
            self.children.len() - 2
        } else {
            self.children.len() / 2
        };
        let children = self.children.split_off(middle);
        let bounds = self.bounds.split_off(middle);
        let bound = self.bounds.get(middle - 1).to_vec();
        self.bounds.remove(middle - 1);
        self.children.shrink_to_fit();
        let weight = children.iter().map(|child| child.weight).sum();
        let right = Child {
            node: Node::Inner(Box::new(Self { bounds, children })),
            weight,
        };
        Split { bound, right }
    }

    /// Drops a child without entries; a neighbour takes over its range of keys. The node itself may
    /// be left without children, which its parent then drops in turn.
    fn remove_empty(&mut self, position: usize) {
        self.children.remove(position);
        if self.bounds.len() > 0 {
            self.bounds.remove(position.saturating_sub(1));
        }
    }

    /// Joins the child at `position`, grown small, with its right or left neighbour; keeps a
    /// quarter of the room free, so that the next insertions do not split again.
    fn join_small(&mut self, position: usize) {
        let fits = |left: usize| {
            left + 1 < self.children.len()
                && self.children[left].node.len() + self.children[left + 1].node.len()
                    <= FANOUT_MAX - FANOUT_LOW
        };
        let left = if fits(position) {
            position
        } else if position > 0 && fits(position - 1) {
            position - 1
        } else {
            return;
        };
        let right = self.children.remove(left + 1);
        let bound = self.bounds.get(left).to_vec();
        self.bounds.remove(left);
        let child = &mut self.children[left];
        child.weight += right.weight;
        child.node.join(&bound, right.node);
    }
}
