package capsulehost

import "crypto/sha256"

// Waiting returns how many have or wait for the module of a binary.
func (h *Host) Waiting(wasm []byte) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.modules[sha256.Sum256(wasm)]; c != nil {
		return c.users
	}
	return 0
}
