// Package fs promises what follows.
//
// # Semantics
//
// What is promised, in the order of the README's promises, and where it ends. Each statement names the tests that hold
// it, by the directory of their package; a test of this package checks that they are there.
//
// Promise 1, a copy that exits 0 is in Drive:
//
//  1. close(2) of a changed, whole image returns 0 when Drive has it and has answered with the checksum of what was
//     written; cp, dd, rsync, install and cat > hear of a failure through close. [fs.TestTruthAtClose,
//     fs.TestWaysToPush, fs.TestTruthOfEdits]
//  2. A push that fails leaves its bytes on this machine, under the same name, and says why in .sregfs/status, the log
//     and `sregfs status`. [fs.TestDriveFull, index.TestAFinalErrorParksThePush, index.TestWrongChecksumsKeepTheDraft]
//  3. A passing error is returned to who waits, and the push goes on; fsync(2) waits for it anew. It is so for
//     rename(2) of a draft, which has its new name by then. [index.TestAPassingErrorIsReturnedAndThePushGoesOn,
//     index.TestADeadNetworkIsFoundOutOnce, fs.TestFsyncSaysThatAPushFailed, fs.TestARenameThatWaits]
//  4. An interrupt ends the wait, not the upload. A signal that a program handles does neither.
//     [fs.TestInterruptedPush, fs.TestHandledSignals, scripts/e2e.TestSignalsLeaveAPushAlone,
//     scripts/e2e.TestInterruptEndsAWaitingCopy]
//  5. Half an image is EINVAL and stays as a draft; an empty file is no image, and no error. A process that was merely
//     forked while the file was open publishes nothing by its end. [fs.TestHalfAnImage, fs.TestEmptyFile,
//     fs.TestForkWhileWriting]
//  6. Writing into a published image makes a new version of it. [fs.TestInPlaceChange, fs.TestTruthOfEdits,
//     scripts/e2e.TestSignInPlace]
//  7. The same content is sent once, however often and under however many names it is pushed. [fs.TestSamePushTwice,
//     index.TestPushesOfTheSameContentAtOnceMakeOneFile]
//  8. With --push=background, close returns when the journal has the image, fsync when Drive has it; until then it is
//     read from this machine. [fs.TestBackgroundPush]
//  9. Unmounting waits for pushes, or leaves them to the next mount. [cmd/sregfs.TestUmountWaitsForPushes,
//     cmd/sregfs.TestUmountSaysWhatAPushWaitsFor, fs.TestKillAndMountAgain, scripts/e2e.TestThePushOutlivesTheMount]
//
// Promise 2, the bytes read are the bytes pushed, or the read fails:
//
//  10. A start fetches the blocks it needs, each once however many read. [index.TestRandomReadsFetchLittle,
//     index.TestSixteenReadersFetchEachByteOnce, fs.TestColdReadersShareOneFetch, scripts/e2e.TestColdStart]
//  11. Who has an image or a draft open keeps its bytes while the name is overwritten or removed, here or elsewhere.
//     [index.TestARevisionStaysWhatItIs, fs.TestOpenFileOutlivesItsName, fs.TestTwoMounts,
//     fs.TestOpenFilesKeepWhatTheyAre, scripts/e2e.TestRunningContainerKeepsItsImage]
//  12. What Drive sends is held against its checksum; what does not match is fetched again, and is EBADMSG if it still
//     does not. [index.TestWrongContentIsThrownAway, fs.TestWrongBytesAreNotTaken,
//     drive.TestReadRangeRefusesWhatItDidNotAskFor]
//  13. A block that was damaged on this disk, truncated or lost, is never served.
//     [index.TestADamagedCacheNeverServesWrongBytes]
//  14. A cache without room serves what it fetches without keeping it. [index.TestADiskWithoutRoomServesUncached,
//     index.TestTheBudgetHolds]
//  15. A passing fault makes a reader wait, at most --timeout without progress; then it is ETIMEDOUT or ENETUNREACH.
//     Whoever reads can be killed. [fs.TestReadFault, fs.TestInterruptedRead, fs.TestNothingHangs,
//     drive.TestReadRangeGivesUpOnSilence]
//
// Promise 3, a name means exactly one image:
//
//  16. Every form of a name leads to the same image, in any case of its letters; nothing is matched in part.
//     [fs.TestEveryFormResolves, fs.TestNamesThatDifferInCase, index.TestResolveAmbiguous]
//  17. Names on Drive that a directory cannot hold are spelled so that they neither escape nor collide nor hide
//     another. [fs.TestHostileNames, fs.TestHostileNamesArrive, index/image.TestEncodeName]
//  18. An image of somebody else is never taken for one of mine. [cmd/sregfs.TestAStrangersImageIsNotMine,
//     fs.TestMineIsNeverShadowed]
//  19. Duplicates show once, the newest; the others are in .sregfs/id. They move and go together.
//     [fs.TestDuplicatesById, fs.TestDuplicatesGoTogether, index.TestDuplicatesShowOnce]
//  20. mv onto a name gives it the image, also of a directory; no bytes move. [fs.TestRename, fs.TestMovedDirectory,
//     fs.TestModel]
//
// Promise 4, nothing is lost:
//
//  21. After a kill at any moment what was acknowledged is in Drive, whole and once, and what was not is whole or
//     absent. [scripts/crash.TestKilledAtEachPoint, scripts/crash.TestKilledAtRandomMoments,
//     index.TestACrashInEachStateIsContinued]
//  22. An upload goes on where Drive says it stopped, in another process too; a session that is gone starts over under
//     the same id; a lost last answer makes no second file. [drive.TestUploadGoesOnInAnotherProcess,
//     drive.TestUploadThroughFaults, fs.TestPushesToOddServers, index.TestFaultsOnTheWay]
//  23. A full disk, a full Drive and a quota are said by ENOSPC and EDQUOT, and cost nothing that was acknowledged.
//     [index.TestAFullDiskIsSaid, fs.TestDriveFull, drive.TestErrorsOfDrive, fs.TestErrnoComplete]
//  24. A listing or a feed that lags takes no image away; only Drive's word on the file itself does. What left comes
//     back on the same word only. [index.TestLaggingListingRemovesNothing, index.TestOldNewsIsIgnored,
//     index.TestNewsInAnyOrder, index.TestAListingThatLacksImages, index.TestAnOldListingBringsNothingBack,
//     index.TestTheFeedComesTwice, index.TestLostTokens]
//  25. The records and the cache can be removed, and come back from Drive; drafts are removed by nothing but their
//     owner or a push that is committed. [index.TestADeletedIndexIsMadeAgain, index.TestADamagedIndexIsSaid,
//     index.TestDamagedRecordsAreListedAgain]
//  26. What this mount wrote, moved or removed never shows its earlier self again, whatever Drive's listings still say.
//     What others did shows with the first call after the mount knows, though the kernel keeps names and attributes.
//     [fs.TestOwnWritesNeverFlicker, fs.TestARetagNeverFlickers, fs.TestReplacedByRemovingFirst,
//     fs.TestKeptNamesChange]
//  27. Each fault of Drive and of the network ends, in each operation, in the right result or in the errno of one
//     table, in time, and is over when the fault is. [fs.TestFaultMatrix, fs.TestErrnoComplete]
//  28. Any order of operations, of other clients, kills and mounts leaves the tree that a plain model of the registry
//     has. [fs.TestModel]
//  29. The state is of one account. With a token of another one nothing is dropped, believed or pushed, and all goes on
//     when the right one is back. [fs.TestAnotherAccountsSignIn, index.TestAnotherAccountIsRefused,
//     drive.TestKeepsToAnAccount]
//  30. All of it at once, for as long as one likes, grows neither memory nor descriptors. [scripts/soak.TestSoak]
//
// Promise 5, without network:
//
//  31. The tree is listed and asks nobody; cached images are read; pushes wait and say so. [fs.TestWithoutNetwork,
//     index.TestOfflineCachedImagesAreRead, index.TestPushesWaitForSignInAndTheNetwork,
//     cmd/sregfs.TestUnreachableDrive, fs.TestNothingIsFetchedToList]
//  32. A sign-in that ended is EKEYEXPIRED; a running mount takes the new one up. [fs.TestExpiredGrant,
//     fs.TestASignInIsNoticed, drive.TestGrantThatEnded, cmd/sregfs.TestExpiredGrantOnAWarmState]
//
// Promise 6, one registry with the Python tool:
//
//  33. Names of all its releases are read, and what is pushed here is stored as that tool expects it.
//     [index/image.TestIdentifyEras, index/image.TestDescribe, scripts/e2e.TestLegacyImages, cmd/sregfs.TestAsTheTool]
//  34. Its environment variables and its sign-in are taken over, and its files left alone.
//     [cmd/sregfs.TestVariablesOfTheTool, drive.TestTheRegistryToolsToken]
//  35. Sharing by attribute, control file and command is one and the same, done once however often it is asked for.
//     [fs.TestShare, fs.TestShareErrors, drive.TestShare]
//
// Promise 7, what is secret or others' stays so:
//
//  36. Tokens, codes and the addresses of upload sessions are in no log, message, process list, status or trace of a
//     crash. [cmd/sregfs.TestASessionKeepsItsSecrets, drive.TestSecretsStaySecret]
//  37. The state is closed to others, and one that is somebody else's is refused. [index.TestStateIsClosedToOthers,
//     index.TestStateOfSomebodyElse, drive.TestTokenFileIsClosedToOthers]
//  38. Tokens go to the address they are for, over checked connections. [drive.TestTokenStaysAtHome,
//     drive.TestReadRangeFollowsARedirectWithoutTheToken, drive.TestTokenEndpointIsNotFollowedElsewhere,
//     drive.TestCertificatesAreChecked, drive.TestPlainAddressesAreSaid]
//  39. The sign-in listens on this machine alone, to the answer it asked for, once.
//     [drive.TestLoginListensForItsOwnAnswer, drive.TestLoginPageShowsTextOnly]
//  40. Other users get in with allow_other only, and then read images and no more. [fs.TestOtherUsers]
//  41. Text of strangers does not steer a terminal. [cmd/sregfs.TestNothingSteersTheTerminal,
//     index/image.TestStringIsSafeToPrint]
//  42. Looking into a hostile image, or reading a hostile answer, costs bounded memory and time.
//     [index/image.TestHostileSIF, index/image.TestCrowdedSquashfsIsBounded, index/image.TestHugeLabelsAreBounded,
//     index/image.TestSquashfsDamaged, drive.TestRepliesAreBounded, drive.TestClientFilesAreBounded]
//  43. pull follows no link, and checks what it fetched before it gets its name. [cmd/sregfs.TestPullFollowsNoLink,
//     cmd/sregfs.TestBytes]
//
// Limits:
//
//  44. What POSIX has and this does not: hard and symbolic links, devices, kept modes, owners and times. What programs
//     call besides works on images and drafts, or says so. [fs.TestPosix, fs.TestEveryOperationOnEveryNode,
//     fs.TestFileCalls]
//  45. Two programs that write one name from its beginning at once: the second is refused.
//     [fs.TestTwoCopiesOntoOneName]
//  46. rm puts the newest version into the bin, and shows the one before it. [fs.TestRemove, index.TestRemove]
//  47. A directory without images is known to this machine alone. [index.TestDirectoriesAreRemembered, fs.TestMkdir]
//  48. A state has one owner at a time. [index.TestStateHasOneOwner, cmd/sregfs.TestBadMountPoints]
//  49. A name that does not fit into Drive's properties is refused before anything is sent. [fs.TestNamesThatMayNotBe,
//     index.TestNamesTooLongAreRefusedBeforeSending]
//  50. Renaming a directory is a change on Drive per image; if one fails, the others have moved, and mv can be
//     repeated. [fs.TestRenameHalf]
//  51. A directory that is read while names come and go shows each name that stays once, however many there are.
//     [fs.TestLargeDirectory, fs.TestListingWhileNamesChange]
package fs
