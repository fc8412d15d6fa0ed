package witness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"
)

// State is what a witness has.
type State struct {
	Name string    `json:"name"`
	Size int64     `json:"size"`           // of the tree that it saw last
	At   time.Time `json:"at,omitzero"`    // when
	Err  string    `json:"error,omitzero"` // of the last try, if it failed
}

const stateFile = "state.json"

// States reads what witnesses had, from the folder that SaveStates wrote to. What can't be
// read counts as nothing: each is shown the next checkpoint anew.
func States(dir string) (states []State) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil || json.Unmarshal(b, &states) != nil {
		return nil
	}
	return states
}

// SaveStates writes what witnesses have.
func SaveStates(dir string, states []State) error {
	b, err := json.MarshalIndent(states, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, stateFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
