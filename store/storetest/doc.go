// Package storetest says what a correct store.Store is. Run is the suite that
// every implementation passes; Faulty makes a store misbehave as the contract
// permits, for the tests of those who use one.
package storetest
