package topic

import "encoding/binary"

// Partition is the partition of n that Java's default partitioner gives a key.
func Partition(key []byte, n int32) int32 {
	return int32(hash(key)&0x7fffffff) % n
}

// hash is MurmurHash2 as Kafka's Java client computes it (org.apache.kafka.common.utils.Utils.murmur2).
func hash(data []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := binary.LittleEndian.Uint32(data) * m
		k ^= k >> r
		h = h*m ^ k*m
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
