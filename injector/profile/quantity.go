package profile

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// maxQuantity bounds a quantity's text. Amounts of CPU and memory have some ten
// characters.
const maxQuantity = 24

// ParseQuantity reads an amount of a resource. Kubernetes' parser computes with
// as many digits as an exponent asks for, which takes seconds for 1e-9999999;
// here an exponent has at most two digits.
func ParseQuantity(v string) (resource.Quantity, error) {
	if _, exponent, ok := strings.Cut(strings.ToLower(v), "e"); ok && len(strings.TrimLeft(exponent, "+-0")) > 2 || len(v) > maxQuantity {
		return resource.Quantity{}, resource.ErrFormatWrong
	}
	return resource.ParseQuantity(v)
}

const mebibyte = 1 << 20

// Amounts beyond these can't be meant for an agent: they are a unit that was
// forgotten or mistaken.
const (
	// leastBytes is below anything that a process could use.
	leastBytes = mebibyte
	// leastMemoryLimit is what the agent needs: it has 12 MB resident (measured),
	// and the container runtime shares the limit while it starts the agent.
	leastMemoryLimit = 16 * mebibyte
	// mostCores is far beyond a program that computes for 10 ms at a time.
	mostCores = 8
)

// ExampleQuantity is an amount of the resource that suits an agent.
func ExampleQuantity(resource string) string {
	if resource == ResourceCPU {
		return "10m"
	}
	return "16Mi"
}

// CheckRequest reports why v is not an amount of the resource that an agent
// could request; "" is none.
func CheckRequest(resource, v string) error {
	_, err := checkQuantity(resource, v)
	return err
}

// CheckLimit reports why v can't be the agent's limit; "" is none.
func CheckLimit(resource, v string) error {
	q, err := checkQuantity(resource, v)
	if err != nil || v == "" || resource == ResourceCPU {
		return err
	}
	switch bytes := q.Value(); {
	case bytes == 0:
		return fmt.Errorf("%q leaves nothing; remove it for no limit", v)
	case resource == ResourceMemory && bytes < leastMemoryLimit:
		return fmt.Errorf("%q is less than the agent needs, which would be killed for it; use 16Mi or more, 32Mi for example", v)
	}
	return nil
}

func checkQuantity(name, v string) (resource.Quantity, error) {
	if v == "" {
		return resource.Quantity{}, nil
	}
	q, err := ParseQuantity(v)
	if err != nil {
		return q, fmt.Errorf("%q is not a quantity; use for example %s", v, ExampleQuantity(name))
	}
	if q.Sign() < 0 {
		return q, fmt.Errorf("%q is negative", v)
	}
	digits := strings.TrimRight(v, "mkKMGTPEi")
	switch {
	case name == ResourceCPU && q.Cmp(*resource.NewQuantity(mostCores, resource.DecimalSI)) > 0:
		return q, fmt.Errorf("%q is %s cores; did you mean %sm (thousandths of a core)?", v, decimal(q), digits)
	case name == ResourceCPU && q.Sign() > 0 && q.Cmp(resource.MustParse("1m")) < 0:
		return q, fmt.Errorf("%q is less than a thousandth of a core, Kubernetes' smallest amount; use for example 10m", v)
	case name != ResourceCPU && q.Sign() > 0 && q.Cmp(*resource.NewQuantity(leastBytes, resource.BinarySI)) < 0:
		return q, fmt.Errorf("%q is %s bytes; did you mean %sMi?", v, decimal(q), digits)
	}
	return q, nil
}

// decimal writes an amount without a unit.
func decimal(q resource.Quantity) string {
	return strconv.FormatFloat(q.AsApproximateFloat64(), 'f', -1, 64)
}
