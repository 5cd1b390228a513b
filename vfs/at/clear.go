package at

// Clear closes every descriptor that the cache holds open and nobody is using,
// those of roots apart. Its Dirs stay good.
func (c *Cache) Clear() {
	c.mu.Lock()
	var fds []int
	for i := 0; i < len(c.ring); {
		if d := c.ring[i]; d.pins == 0 {
			fds = append(fds, d.detachLocked()) // moves the last one to i
			continue
		}
		i++
	}
	c.mu.Unlock()
	closeAll(fds...)
}
