package registrar

import (
	"context"
	"time"

	"rollcall/sip"
	"rollcall/sip/transport"
)

// applyTries bounds how often a change is decided anew because others changed
// the same address of record meanwhile.
const applyTries = 64

// Register carries out a REGISTER that passed m.Check, for the address of record
// that the sender authenticated as, which came over flow. It appends the header
// lines of the 200 to dst (Contact, Path, Date; for sip.Reply.Lines) and returns
// what was changed. m is not kept and may share memory with a buffer that is used
// again; aor is kept.
//
// An error that is a *sip.Error is the answer. Any other is of the store, wrapped
// (store.ErrUnavailable). With an error nothing was changed, as far as the store
// knows, and dst is as it was.
func (r *Registrar) Register(ctx context.Context, m *sip.Message, aor sip.AOR, flow transport.Flow, now time.Time, dst []byte) ([]byte, Change, error) {
	return dst, Change{AOR: aor}, sip.NewError(sip.StatusNotImplemented, "")
}

type request struct{}

type dateLine struct{}
