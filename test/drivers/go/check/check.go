// Package check runs the checks of a Go driver's program and prints a line for each,
// "NAME CHECK ok" or "NAME CHECK FAILED: why". Names and meaning of the checks are those
// of python/contract.py; the checks themselves stand in each program, in its driver's own
// words. A check fails by panicking, which also rolls its transactions back.
package check

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

var (
	Name      = os.Getenv("DRIVER_NAME")
	URL       = os.Getenv("DATABASE_URL")
	_, Pooler = os.LookupEnv("PGBOUNCER")
)

// Case is one check of the contract. It gets a connection and a customer of its own.
type Case[Session any] struct {
	Name string
	Run  func(session Session, customer string)
}

// Must is the value of a call that has to succeed.
func Must[T any](value T, err error) T {
	OK(err)
	return value
}

// OK demands that nothing went wrong.
func OK(err error) {
	if err != nil {
		panic(err)
	}
}

// Same demands that two values are equal.
func Same[T comparable](actual, expected T) {
	if actual != expected {
		panic(fmt.Errorf("%v is not %v", actual, expected))
	}
}

// Near demands that a time to wait is about so many days.
func Near(wait time.Duration, days int) {
	expected := time.Duration(days) * 24 * time.Hour
	if wait <= expected-24*time.Hour || wait > expected+5*time.Second {
		panic(fmt.Errorf("%v is not %d days", wait, days))
	}
}

// Denied demands what skene_require says when the remaining units are too few: SQLSTATE
// PT402, and the decision as JSON in the error's DETAIL.
func Denied(state, detail string, remaining int64) {
	var decision struct {
		Allowed   bool
		Reason    string
		Remaining int64
	}
	Same(state, "PT402")
	OK(json.Unmarshal([]byte(detail), &decision))
	Same(decision.Allowed, false)
	Same(decision.Reason, "limit_reached")
	Same(decision.Remaining, remaining)
}

// Event is the body of a webhook request, byte for byte, and its Stripe-Signature header.
func Event() (payload []byte, signature string) {
	return Must(os.ReadFile(os.Getenv("EVENT_FILE"))), os.Getenv("EVENT_SIGNATURE")
}

// Run the checks of the driver that is in a module, and exit. lend calls what it is given
// with a connection from the driver's pool.
func Run[Session any](module, note string, lend func(func(Session)), cases []Case[Session]) {
	fmt.Println(Name, "version", version(module))
	if !Pooler {
		fmt.Println(Name, "note", note)
	}
	status := 0
	for _, c := range cases {
		why := failure(func() {
			lend(func(session Session) { c.Run(session, Name+"-"+c.Name) })
		})
		if why == nil {
			fmt.Println(Name, c.Name, "ok")
		} else {
			fmt.Println(Name, c.Name, "FAILED:", strings.Join(strings.Fields(fmt.Sprint(why)), " "))
			status = 1
		}
	}
	os.Exit(status)
}

// failure is what a check panicked with, or nil.
func failure(run func()) (why any) {
	defer func() { why = recover() }()
	run()
	return nil
}

// version of a module that this program was built with.
func version(module string) string {
	build, _ := debug.ReadBuildInfo()
	for _, dependency := range build.Deps {
		if dependency.Path == module {
			return strings.TrimPrefix(dependency.Version, "v")
		}
	}
	panic("not built with " + module)
}
