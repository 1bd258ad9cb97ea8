package relation

import "fmt"

// LockBudgetError says that a pass would take more locks at once than a server
// can spare.
type LockBudgetError struct {
	Side   Side
	Budget LockBudget
}

func (e *LockBudgetError) Error() string {
	return fmt.Sprintf("the pass needs about %d locks at once, the %s can spare %d; select fewer tables, use --snapshot table, or raise max_locks_per_transaction", e.Budget.Needed, e.Side, e.Budget.Available)
}
