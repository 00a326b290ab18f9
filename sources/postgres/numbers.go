package postgres

import (
	"maps"
	"slices"
)

// The catalog numbers a table's columns, and gives no number twice: a column that is dropped and added again under its name has
// another one. No message of the log tells it. So what the target has under a name is kept with the number that the column had when
// the target was told of it.

// columnNumbers is the numbers of some columns, in their order; 0 is not known. The last one that is given stands for all that
// follow, each one higher: of most tables it is the first.
type columnNumbers []int16

// abridged leaves out what at tells by itself.
func abridged(numbers []int16) columnNumbers {
	if !slices.ContainsFunc(numbers, func(n int16) bool { return n != 0 }) {
		return nil
	}
	end := len(numbers)
	for end > 1 && numbers[end-2] != 0 && numbers[end-1] == numbers[end-2]+1 {
		end--
	}
	return numbers[:end]
}

// at is the number of one column.
func (n columnNumbers) at(i int) int16 {
	last := len(n) - 1
	switch {
	case last < 0:
		return 0
	case i <= last:
		return n[i]
	case n[last] == 0:
		return 0
	}
	return n[last] + int16(i-last)
}

// numbers gives the published columns' numbers by their names. What is computed has none: no one is told of it.
func (v *tableVersion) numbers() map[string]int16 {
	numbers := make(map[string]int16, len(v.columns))
	for i := range v.columns {
		if c := &v.columns[i]; !c.Generated {
			numbers[c.Name] = c.number
		}
	}
	return numbers
}

// numbers is those of the columns by their names.
func (n *tableNames) numbers() map[string]int16 {
	numbers := make(map[string]int16, len(n.Columns))
	for i, name := range n.Columns {
		numbers[name] = n.Numbers.at(i)
	}
	return numbers
}

// number is that of the column the target has under a name; 0 for none, and for one that is not known.
func (n *tableNames) number(name string) int16 {
	if i := slices.Index(n.Columns, name); i >= 0 {
		return n.Numbers.at(i)
	}
	return n.Gone[name]
}

// numbered gives each column whose number is not known the one that it has now.
func (n tableNames) numbered(now map[string]int16) tableNames {
	numbers := make([]int16, len(n.Columns))
	for i, name := range n.Columns {
		if numbers[i] = n.Numbers.at(i); numbers[i] == 0 {
			numbers[i] = now[name]
		}
	}
	n.Numbers = abridged(numbers)
	return n
}

// succeed gives the names of a new version what is known of the one before; now is the numbers of the new version. Under a name that
// both have, the target has the column it had, until it is seen to be another one. Names whose columns have changed places are not kept
// so, as long as those are there: the target sees that itself. The target keeps a column that is gone from the source, and gets no other one when the name comes back.
func (n tableNames) succeed(before tableNames, now map[string]int16) tableNames {
	kept, passed := before.numbers(), crossed(before.Columns, n.Columns)
	numbers, live, here := make([]int16, len(n.Columns)), map[int16]bool{}, map[string]bool{}
	for _, name := range n.Columns {
		here[name], live[now[name]] = true, true
	}
	for i, name := range n.Columns {
		numbers[i] = now[name]
		if was := kept[name]; was != 0 && !(passed[name] && live[was]) {
			numbers[i] = was
		}
	}
	for _, number := range numbers {
		live[number] = true
	}
	for i, name := range n.Columns {
		if gone := before.Gone[name]; gone != 0 && !live[gone] {
			numbers[i] = gone
		}
	}
	n.Numbers, n.Gone, n.Taken = abridged(numbers), map[string]int16{}, nil
	for _, lost := range []map[string]int16{before.Gone, kept} {
		for name, number := range lost {
			if number != 0 && !here[name] && !live[number] { // a column that was renamed is not gone
				n.Gone[name] = number
			}
		}
	}
	for name, number := range before.Taken {
		if was := n.number(name); was != 0 && was != number {
			n = n.seen(map[string]int16{name: number})
		}
	}
	return n
}

// crossed gives the names that both lists have, and that do not stand in the same order as another one of these.
func crossed(before, now []string) map[string]bool {
	if common := min(len(before), len(now)); slices.Equal(before[:common], now[:common]) {
		return nil
	}
	places := make(map[string]int, len(before))
	for i, name := range before {
		places[name] = i
	}
	return inverted(now, func(name string) (int, bool) {
		i, ok := places[name]
		return i, ok
	})
}

// inverted gives the names that do not stand in the order of their ranks beside another one. Those without a rank do not count.
func inverted(names []string, rank func(name string) (int, bool)) map[string]bool {
	var found map[string]bool
	for i, name := range names {
		own, ok := rank(name)
		if !ok {
			continue
		}
		for _, other := range names[:i] {
			if r, ok := rank(other); ok && r > own {
				if found == nil {
					found = map[string]bool{}
				}
				found[name], found[other] = true, true
			}
		}
	}
	return found
}

// taken gives the names that the target knows and that belong to other columns now, with the numbers of those. Names whose columns
// have changed places are left out: the log shows that, and the target can be made to follow.
func (n *tableNames) taken(now map[string]int16) map[string]int16 {
	var found map[string]int16
	take := func(name string, was int16) {
		if is := now[name]; was != 0 && is != 0 && is != was {
			if found == nil {
				found = map[string]int16{}
			}
			found[name] = is
		}
	}
	live := map[int16]bool{}
	for _, number := range now {
		live[number] = true
	}
	for i, name := range n.Columns {
		take(name, n.Numbers.at(i))
	}
	for name, was := range n.Gone {
		if !live[was] {
			take(name, was)
		}
	}
	if len(found) == 0 {
		return nil
	}
	for name := range inverted(n.Columns, func(name string) (int, bool) { return int(now[name]), now[name] != 0 }) {
		if live[n.number(name)] {
			delete(found, name)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found
}

// seen notes that the log was read past the place where other columns took these names.
func (n tableNames) seen(columns map[string]int16) tableNames {
	taken := make(map[string]int16, len(n.Taken)+len(columns))
	maps.Copy(taken, n.Taken)
	maps.Copy(taken, columns)
	n.Taken = taken
	return n
}

// accept makes these columns the ones that the target has.
func (n tableNames) accept(columns map[string]int16) tableNames {
	numbers := make([]int16, len(n.Columns))
	for i, name := range n.Columns {
		numbers[i] = n.Numbers.at(i)
		if number, is := columns[name]; is {
			numbers[i] = number
		}
	}
	n.Numbers = abridged(numbers)
	n.Gone, n.Taken = without(n.Gone, columns), without(n.Taken, columns)
	return n
}

// without is the entries of one map that another does not have; nil for none.
func without(m, less map[string]int16) map[string]int16 {
	var left map[string]int16
	for name, number := range m {
		if _, is := less[name]; is {
			continue
		}
		if left == nil {
			left = map[string]int16{}
		}
		left[name] = number
	}
	return left
}
