//! What the classic uses of a store decide, given what it holds: whose turn it is (`turn.rs`), which item is next
//! (`queue.rs`) and whether a queue may begin (`condition.rs`), what a barrier asks for (`barrier.rs`), which instance is
//! chosen (`choice.rs`, `table.rs`), who came and who went (`membership.rs`), how a task stands (`progress.rs`); and the
//! keys each of them uses. The layouts are told in `docs/recipes.md`. Never knows how a store is asked.

pub mod barrier;
pub mod choice;
pub mod condition;
pub mod membership;
pub mod name;
pub mod progress;
pub mod queue;
pub mod table;
pub mod turn;
