package postgres

import (
	_ "embed" // for the statements
)

var (
	//go:embed queries/schema.sql
	schemaSQL string
	//go:embed queries/ledger.sql
	ledgerSQL string
	//go:embed queries/claim_rows.sql
	claimRowsSQL string
	//go:embed queries/claim.sql
	claimSQL string
	//go:embed queries/evict.sql
	evictSQL string
	//go:embed queries/advance.sql
	advanceSQL string
	//go:embed queries/hold.sql
	holdSQL string
	//go:embed queries/made.sql
	madeSQL string
	//go:embed queries/state.sql
	stateSQL string
	//go:embed queries/state_set.sql
	stateSetSQL string
	//go:embed queries/state_delete.sql
	stateDeleteSQL string
	//go:embed queries/copy_begin.sql
	copyBeginSQL string
	//go:embed queries/copy_chunk.sql
	copyChunkSQL string
	//go:embed queries/copy_list.sql
	copyListSQL string
	//go:embed queries/copy_clear.sql
	copyClearSQL string
)

// The tables of the ledger, as the catalog names them.
const (
	ledgerTable = "rowferry.ledger"
	copyTable   = "rowferry.copy"
	stateTable  = "rowferry.state"
)
