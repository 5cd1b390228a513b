package hostfs

// SetStep has f called at the points between two states on disk.
func (o *Options) SetStep(f func(string)) { o.step = f }

// SetPlain has names taken not to be exchangeable.
func (o *Options) SetPlain() { o.plain = true }

// SetApart has Stage taken to be on another mount than the root.
func (o *Options) SetApart() { o.apart = true }
