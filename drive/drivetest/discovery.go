package drivetest

func (a *api) discoveryGet(c *call) error { c.reply(object{}); return nil }
